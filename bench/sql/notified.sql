-- What a user would write to feed a gateway by NOTIFY.
CREATE TABLE notified (LIKE plain INCLUDING ALL) WITH (autovacuum_enabled = off);

CREATE FUNCTION notify_rows() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_notify('rows', row_to_json(NEW)::text);
	RETURN NULL;
END
$$;

CREATE TRIGGER notify_rows AFTER INSERT OR UPDATE ON notified
	FOR EACH ROW EXECUTE FUNCTION notify_rows();
