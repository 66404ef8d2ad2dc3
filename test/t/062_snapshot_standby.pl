# Snapshots on a hot standby: exact too, whatever subtransactions there are, and asked for again after a query conflict.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Utils;
use Test::More;
use PlankCluster;

my $primary = PlankCluster->create('primary', conf => <<'CONF');
wal_level = replica
max_wal_senders = 5
hot_standby = on
autovacuum = off
CONF
$primary->safe_psql('postgres', <<'SQL');
CREATE EXTENSION plank_test;
CREATE TABLE written (id bigserial PRIMARY KEY, xid text DEFAULT pg_current_xact_id());
CREATE TABLE many (id bigint PRIMARY KEY, name text);
INSERT INTO many SELECT g, 'row number ' || g FROM generate_series(1, 200000) g;
VACUUM ANALYZE;
GRANT SELECT ON written, many TO web;
SELECT plank.track('written'), plank.track('many');
CREATE TABLE taken (low xid8, high xid8, in_progress xid8[], rows jsonb);
CREATE TABLE halt ();
SQL
$primary->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
$standby->append_conf('postgresql.conf', "plank.port = " . PostgreSQL::Test::Cluster::get_free_port());
$standby->start;
$primary->wait_for_catchup($standby);

# Writers whose subtransactions are too many to be remembered one by one, and writers that stay open over many snapshots.
my @writers = map { $primary->background_psql('postgres', on_error_stop => 0) } 1 .. 4;
for my $writer (@writers)
{
	$writer->query_until(qr/begun/, <<'SQL');
\echo begun
DO $$ BEGIN FOR i IN 1 .. 1000000 LOOP
	INSERT INTO written DEFAULT VALUES;
	FOR j IN 1 .. CASE WHEN i % 3 = 0 THEN 100 ELSE 2 END LOOP
		BEGIN INSERT INTO written DEFAULT VALUES; EXCEPTION WHEN OTHERS THEN NULL; END;
	END LOOP;
	PERFORM pg_sleep(random() / 30);
	IF i % 7 = 0 THEN ROLLBACK; ELSE COMMIT; END IF;
	EXIT WHEN EXISTS (SELECT FROM halt);
END LOOP; END $$;
SQL
}
$standby->poll_query_until('postgres', 'SELECT count(*) > 20 FROM written');
my $snapshots = 40;
my $taken = $standby->safe_psql('postgres', join '', map {
		q{SELECT xmin, xmax, in_progress, '[' || coalesce(rows, '') || ']' FROM (SELECT pg_sleep(0.03)) w, plank_test.read_snapshot('written');} . "\n"
	} 1 .. $snapshots);
$primary->safe_psql('postgres', 'INSERT INTO halt DEFAULT VALUES');
$_->query('SELECT 1') for @writers;
$_->quit for @writers;
my $load = join ";\n", map {
	my ($low, $high, $in_progress, $rows) = split /\|/;
	"INSERT INTO taken VALUES ('$low', '$high', '$in_progress', '$rows')"
} split /\n/, $taken;
$primary->safe_psql('postgres', $load);
is($primary->safe_psql('postgres', <<'SQL'), "$snapshots|t|t|0", 'snapshots of a standby show exactly what their headers say');
SELECT count(*), count(*) FILTER (WHERE in_progress <> '{}') > 5, count(DISTINCT high) > 5, sum(wrong) FROM taken, LATERAL (
	SELECT count(*) FILTER (WHERE (w.xid::xid8 < low OR w.xid::xid8 < high AND w.xid::xid8 <> ALL (in_progress))
		IS DISTINCT FROM (seen.id IS NOT NULL)) AS wrong
	FROM written w LEFT JOIN (SELECT (r->>'id')::bigint AS id FROM jsonb_array_elements(rows) r) seen USING (id)) AS compared
SQL

# DDL on the primary wants the table while the reader has it: the request ends, and is worth another try. (Of old rows that
# are removed this session's own statement would hear too.)
$standby->append_conf('postgresql.conf', 'max_standby_streaming_delay = 0');
$standby->reload;
my $gate = $standby->background_psql('postgres');
my $client = $standby->background_psql('postgres', on_error_stop => 0);
my $reader = q{FROM pg_stat_activity WHERE backend_type = 'plank snapshot'};
$gate->query('SELECT pg_advisory_lock(1)');
$client->query_until(qr/begun/, <<'SQL');
\echo begun
SELECT code, retry FROM plank_test.read_snapshot('many', keep => false, pause_for => 1);
SQL
ok($standby->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"), 'paused');
ok($standby->poll_query_until('postgres', "SELECT count(*) = 1 $reader AND backend_xmin IS NOT NULL"), 'in the midst of its rows');
my $pid = $standby->safe_psql('postgres', "SELECT pid $reader AND backend_xmin IS NOT NULL");
$primary->safe_psql('postgres', 'ALTER TABLE many ADD COLUMN more int');
$primary->wait_for_catchup($standby);
ok($standby->poll_query_until('postgres', "SELECT count(*) = 1 $reader AND pid = $pid AND backend_xmin IS NULL"),
	'a conflict ends the reading at once');
$gate->query('SELECT pg_advisory_unlock(1)');
is($client->query(q{SELECT count FROM plank_test.read_snapshot('many')}), "40001|t\n200000", 'which is worth another try');
is($standby->safe_psql('postgres', "SELECT count(*) $reader AND pid = $pid"), 1, 'by the same process');
$client->quit;
$gate->quit;
$standby->stop;
$primary->stop;
done_testing();
