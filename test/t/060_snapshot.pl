# The processes that read snapshots: what they read under load, what they hold, how they are stopped and how they end.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use PlankCluster;

my $node = PlankCluster->create('main', conf => 'max_worker_processes = 4');
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION plank_test;
INSERT INTO items VALUES (1, 'one'), (2, 'two');
CREATE TABLE many (id bigint PRIMARY KEY, name text);
INSERT INTO many SELECT g, 'row number ' || g FROM generate_series(1, 1000000) g;
CREATE TABLE few (id bigint PRIMARY KEY, name text);
INSERT INTO few SELECT g, 'row number ' || g FROM generate_series(1, 3000) g;
VACUUM ANALYZE;
SELECT plank.track('many'), plank.track('few');
GRANT SELECT ON many, few TO web;
SQL

my $reader = q{FROM pg_stat_activity WHERE backend_type = 'plank snapshot'};
sub ask { my ($question) = @_; return $node->safe_psql('postgres', $question) }
sub until_true { my ($what, $question) = @_; $node->wait_for($what, sub { ask($question) eq 't' }); return }
sub session { return $node->background_psql('postgres', on_error_stop => 0) }
# Sends a query without waiting for its answer, which is in front of the next one's.
sub begin { my ($session, $query) = @_; $session->query_until(qr/begun/, "\\echo begun\n$query;\n"); return }
sub end { my ($session) = @_; return $session->query(q{SELECT 'end'}) =~ s/\n?end$//r }
# What a process has of its own, in MB.
sub memory { my ($pid) = @_; return PlankCluster::memory_of($pid) / 1024 }
my $gate = session();    # holds what others shall wait for
my $client = session();
my $client_pid = $client->query('SELECT pg_backend_pid()');

# A row reads as the insert that made it.
$node->safe_psql('postgres', <<'SQL');
CREATE TYPE pair AS (a bigint, b numeric[], c text);
CREATE TABLE kinds (id int8 PRIMARY KEY, b bool, f float8, n numeric, t text, by bytea, j json, jb jsonb, ts timestamptz,
	i interval, a int8[], p pair, ps pair[], r int4range, m money, o oid, x xml, pt point, bits bit(3), u uuid);
GRANT SELECT ON kinds TO web;
SELECT plank.track('kinds');
SQL
for my $numbers ('json', 'text')
{
	my $watcher = $node->client(raw => 1);
	$watcher->send({ type => 'subscribe', id => 'k', table => 'kinds', numbers => $numbers });
	$watcher->await(sub { $_[0] =~ /"subscribed"/ });
	ask(<<'SQL');
DELETE FROM kinds;
INSERT INTO kinds VALUES (9007199254740993, true, 0.1, 12345678901234567890.10, E'a"\\\n\u017c', '\x00ff', '{"b" : 1, "b": [1]}',
	'{"a": 12345678901234567890}', '2024-02-29 12:34:56+02', '1 year 2 days', '{1,NULL,9007199254740993}', ROW(1, '{1.5,NaN}', 'x'),
	ARRAY[ROW(9007199254740993, NULL, NULL)::pair], '[1,5)', '12.34', 4294967295, '<a/>', '(1,2.5)', B'101',
	'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11');
SQL
	my ($new) = $watcher->await(sub { $_[0] =~ /"op":"insert"/ }) =~ /"op":"insert".*?"new":(\{.*?\})\}\]/s;
	my $rows = ask('SELECT rows FROM plank_test.read_snapshot(\'kinds\', numbers_as_text => ' . ($numbers eq 'text' ? 'true' : 'false') . ')');
	utf8::encode($rows) if utf8::is_utf8($rows);
	is($rows, $new, "a row reads as the insert that made it, numbers as $numbers");
	$watcher->disconnect;
}

# A condition may use an index, and statistics count the reading.
is(ask(q{SELECT rows FROM plank_test.read_snapshot('many', condition => 'id = 77')}), '{"id":77,"name":"row number 77"}', 'one row of many');
until_true('the scan counted', q{SELECT idx_scan = 1 FROM pg_stat_user_tables WHERE relname = 'many'});
pass('found by the index');

# In a database of another encoding texts go both ways.
$node->safe_psql('postgres', q{CREATE DATABASE latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0});
my $latin1 = $node->safe_psql('latin1', <<'SQL');
SET client_encoding = 'UTF8';
CREATE EXTENSION plank;
CREATE EXTENSION plank_test;
CREATE TABLE "café" (id int PRIMARY KEY, "été" text);
INSERT INTO "café" VALUES (1, 'ü'), (2, 'u');
GRANT SELECT ON "café" TO web;
DO $$ BEGIN PERFORM plank.track('"café"'); END $$;
SELECT convert_from(convert_to(rows, 'LATIN1'), 'UTF8') FROM plank_test.read_snapshot('"café"', '{"été"}', '"été" <> ''ü''');
SQL
is($latin1, '{"id":2,"été":"u"}', 'a database in LATIN1');
until_true('no reader there', "SELECT count(*) = 0 $reader AND datname = 'latin1'");

# While the table is locked: nothing is held but the place in the queue, and a cancelled request is over at once.
$gate->query('BEGIN; LOCK TABLE items; SELECT pg_advisory_lock(1)');
begin($client, q{SELECT count FROM plank_test.read_snapshot('items', cancel_for => 1)});
until_true('the reader in the queue for the lock', "SELECT count(*) = 1 $reader AND wait_event_type = 'Lock'");
is(ask("SELECT state, backend_xmin IS NULL, query $reader"), 'active|t|LOCK TABLE public.items IN ACCESS SHARE MODE',
	'a reader that waits for DDL says for what, and holds no xmin');
my $pid = ask("SELECT pid $reader");
$gate->query('SELECT pg_advisory_unlock(1)');
is(end($client), '0', 'a request is cancelled while it waits for a lock');
is(ask("SELECT pid, state, backend_xmin IS NULL $reader"), "$pid|idle|t", 'and its reader is free');
is($client->query(q{SELECT count FROM plank_test.read_snapshot('few')}), '3000', 'the next request');
is(ask("SELECT pid $reader"), $pid, 'is read by the same process');

# The client's statement is cancelled, then its session ended, while the reader waits for the lock.
begin($client, q{SELECT count FROM plank_test.read_snapshot('items')});
until_true('the lock wanted', "SELECT count(*) = 1 $reader AND wait_event_type = 'Lock'");
ask("SELECT pg_cancel_backend($client_pid)");
end($client);
until_true('the reader free', "SELECT count(*) = 1 $reader AND state = 'idle'");
begin($client, q{SELECT count FROM plank_test.read_snapshot('items')});
until_true('the lock wanted', "SELECT count(*) = 1 $reader AND wait_event_type = 'Lock'");
ask("SELECT pg_terminate_backend($client_pid)");
until_true('no reader without its client', "SELECT count(*) = 0 $reader");
eval { $client->quit };
pass('a reader goes with its client, whatever it waits for');
$gate->query('ROLLBACK');

# A slow client: its reader waits, with little memory on both sides; then it gets all.
$client = session();
$client_pid = $client->query('SELECT pg_backend_pid()');
$gate->query('SELECT pg_advisory_lock(1)');
begin($client, q{SELECT count, code FROM plank_test.read_snapshot('many', keep => false, pause_for => 1)});
until_true('the pause', "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
$pid = ask("SELECT pid $reader");
until_true('the reader waiting for its client', "SELECT wait_event = 'Extension' $reader");
is(ask("SELECT state, backend_xmin IS NOT NULL, query $reader"), 'active|t|SELECT id, name FROM ONLY public.many',
	'a reader in the midst of its rows');
cmp_ok(memory($_), '<', 30, sprintf '%s keeps little: %.1f MB', $_ == $pid ? 'the reader' : 'the client', memory($_)) for $pid, $client_pid;
$node->safe_psql('postgres', 'CREATE DATABASE other');
# It would wait for as long as the pause lasts.
$node->safe_psql('postgres', 'DROP DATABASE other', timeout => $PostgreSQL::Test::Utils::timeout_default);
pass('DROP DATABASE of another database does not wait for it');
$gate->query('SELECT pg_advisory_unlock(1)');
is(end($client), '1000000|', 'all of a million rows');
cmp_ok(memory($_), '<', 30, sprintf '%s after them: %.1f MB', $_ == $pid ? 'the reader' : 'the client', memory($_)) for $pid, $client_pid;
is(ask("SELECT pid, state, backend_xmin IS NULL $reader"), "$pid|idle|t", 'done, the reader holds nothing');

# What fits into the queue is read to its end however slow the client is.
$gate->query('SELECT pg_advisory_lock(1)');
begin($client, q{SELECT count FROM plank_test.read_snapshot('few', pause_for => 1)});
until_true('the pause', "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
until_true('its snapshot given back', "SELECT backend_xmin IS NULL $reader");
pass('a snapshot is not held for a client that has yet to take the last rows');
$gate->query('SELECT pg_advisory_unlock(1)');
is(end($client), '3000', 'which it gets');

# A request is cancelled in the midst of its rows, when its reader has an answer half sent.
$gate->query('SELECT pg_advisory_lock(1)');
begin($client, q{SELECT count > 0 AND count < 100000, code FROM plank_test.read_snapshot('many', pause_for => 1, cancel_for => 1)});
until_true('the pause', "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
until_true('the reader waiting for its client', "SELECT wait_event = 'Extension' AND backend_xmin IS NOT NULL $reader");
$gate->query('SELECT pg_advisory_unlock(1)');
is(end($client), 't|', 'a request is cancelled in the midst of its rows');
is($client->query(q{SELECT count FROM plank_test.read_snapshot('few')}), '3000', 'and the next one gets its own answers');

# Given up at any time, also when the last answer is on its way: one reader for them all, and none gets another's answers.
ask('CREATE TABLE none (id bigint PRIMARY KEY); SELECT plank.track(\'none\'); GRANT SELECT ON none TO web');
$client->query(q{SELECT plank_test.snapshot_limit(1); SET statement_timeout = '100s'});
cmp_ok($client->query(q{SELECT plank_test.give_up_snapshots(ARRAY['none', 'items', 'none']::regclass[], 6000)}), '>=', 3000,
	'requests are given up at any time, and those after them get their own answers');
$client->query('SELECT plank_test.snapshot_limit(4); RESET statement_timeout');

# The reader is cancelled or ended by somebody else, in the midst of its rows.
for ([ 'pg_cancel_backend', '57014|canceling statement due to user request|t', 1 ],
	[ 'pg_terminate_backend', '57P01|the process that read the snapshot has ended|t', 0 ])
{
	my ($function, $answer, $left) = @$_;
	$gate->query('SELECT pg_advisory_lock(1)');
	begin($client, q{SELECT code, message, retry FROM plank_test.read_snapshot('many', keep => false, pause_for => 1)});
	until_true('the pause', "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
	ask("SELECT $function(pid) $reader");
	until_true('its end', "SELECT count(*) = $left $reader AND backend_xmin IS NULL");
	$gate->query('SELECT pg_advisory_unlock(1)');
	is(end($client), $answer, "$function ends a request, which may be made again");
	is($client->query(q{SELECT count FROM plank_test.read_snapshot('few')}), '3000', 'and is no end of the pool');
}

# The reader is cancelled when it has read all there is: too late.
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE hidden (id bigint PRIMARY KEY);
INSERT INTO hidden VALUES (1);
SELECT plank.track('hidden');
GRANT SELECT ON hidden TO web;
ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;
CREATE POLICY hidden ON hidden USING (plank_test.cancel_at_commit());
SQL
$client->query('SELECT plank_test.snapshot_limit(1)');
is($client->query(q{SELECT plank_test.read_snapshots('{hidden, items, few, items}'::regclass[]::oid[])}), 'at most 1 at a time: 1=0 2=2 3=3000 4=2',
	'a request that has been answered is not cancelled, nor is the next one in its place');
$client->query('SELECT plank_test.snapshot_limit(4)');

# A reader without work is kept for a while only.
$pid = ask("SELECT pid $reader");
$client->query('SELECT plank_test.snapshot_limit(4, 0)');
is($client->query(q{SELECT count FROM plank_test.read_snapshot('few', condition => repeat(' ', 100000) || 'id > 0')}), '3000',
	'a request larger than its queue, read by another process');
isnt(ask("SELECT pid $reader ORDER BY backend_start DESC LIMIT 1"), $pid, 'for the former was not kept');
$client->quit;
until_true('no reader', "SELECT count(*) = 0 $reader");

# What the header says is exactly what the rows show, while writers with savepoints commit.
ask(<<'SQL');
CREATE TABLE written (id bigserial PRIMARY KEY, xid text DEFAULT pg_current_xact_id());
GRANT SELECT ON written TO web;
SELECT plank.track('written');
CREATE TABLE taken (n int, low xid8, high xid8, in_progress xid8[], rows jsonb, count int8);
CREATE TABLE halt ();
SQL
my @writers = map { session() } 1 .. 4;
begin($_, <<'SQL') for @writers;
DO $$ BEGIN FOR i IN 1 .. 1000000 LOOP
	INSERT INTO written DEFAULT VALUES;
	BEGIN INSERT INTO written DEFAULT VALUES; EXCEPTION WHEN OTHERS THEN NULL; END;
	PERFORM pg_sleep(random() / 100);
	IF i % 7 = 0 THEN ROLLBACK; ELSE COMMIT; END IF;
	EXIT WHEN EXISTS (SELECT FROM halt);
END LOOP; END $$
SQL
until_true('every writer writing', 'SELECT count(*) > 20 FROM written');
$client = session();
$client->query(<<'SQL');
DO $$ BEGIN FOR i IN 1 .. 60 LOOP
	INSERT INTO taken SELECT i, xmin, xmax, in_progress, ('[' || coalesce(rows, '') || ']')::jsonb, count
		FROM plank_test.read_snapshot('written');
	COMMIT;
END LOOP; END $$
SQL
ask('INSERT INTO halt DEFAULT VALUES');
end($_) for @writers;
$_->quit for @writers;
is(ask(<<'SQL'), '60|t|0', 'sixty snapshots show exactly the transactions that their headers say');
SELECT count(*), count(*) FILTER (WHERE in_progress <> '{}') > 10, sum(wrong) FROM taken, LATERAL (
	SELECT count(*) FILTER (WHERE (w.xid::xid8 < low OR w.xid::xid8 < high AND w.xid::xid8 <> ALL (in_progress))
		IS DISTINCT FROM (seen.id IS NOT NULL)) AS wrong
	FROM written w LEFT JOIN (SELECT (r->>'id')::bigint AS id FROM jsonb_array_elements(rows) r) seen USING (id)) AS compared
SQL

# No process to be had: said once, with what mends it, and tried again until there is one. One of four is the worker,
# another PostgreSQL's own.
my @others = map { session() } 1, 2;
$client->quit;
until_true('no reader', "SELECT count(*) = 0 $reader");
# They too have to wait, when the server has not seen yet that the former reader has gone.
$_->query(q{SELECT count FROM plank_test.read_snapshot('few')}) for @others;
my $mark = $node->log_mark;
$client = session();
begin($client, q{SET client_min_messages = error; SELECT count FROM plank_test.read_snapshot('items')});
$node->wait_for_line(qr/WARNING:  plank: no process can be started for snapshots/, $mark);
$node->wait_for_line(qr/HINT:  Raise max_worker_processes, or lower plank.max_snapshots/, $mark);
$others[0]->quit;
is(end($client), '2', 'a request waits until a process can be started');
is(() = $node->log_since($mark) =~ /no process can be started/g, 1, 'which is said once');

# A policy that hangs is stopped, also one that catches every cancel; and for that it is not asked again.
$others[1]->quit;
$node->append_conf('postgresql.conf', "plank.snapshot_timeout = '1s'");
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE hanging (id bigint PRIMARY KEY);
INSERT INTO hanging VALUES (1), (2);
SELECT plank.track('hanging');
GRANT SELECT ON hanging TO web;
ALTER TABLE hanging ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION hangs(id bigint) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN IF id = 2 THEN PERFORM pg_sleep(3600); END IF; RETURN true; END $$;
CREATE FUNCTION never_ends(id bigint) RETURNS bool LANGUAGE plpgsql AS
	$$ BEGIN LOOP BEGIN PERFORM pg_sleep(3600); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$;
CREATE POLICY hanging ON hanging USING (hangs(id));
SELECT pg_reload_conf();
SQL
$node->wait_for('the setting', sub { ask('SHOW plank.snapshot_timeout') eq '1s' });
$others[1] = session();
my $failed = q{SELECT code, retry, message FROM plank_test.read_snapshot('hanging')};
my $too_long = "finding the table's rows took longer than plank.snapshot_timeout allows";
is($others[1]->query($failed), "53400|f|$too_long", 'a policy that hangs');
ask('ALTER POLICY hanging ON hanging USING (never_ends(id))');
is($others[1]->query($failed), "53400|f|$too_long", 'one that catches every cancel');
# Waiting for the client does not count.
$gate->query('SELECT pg_advisory_lock(1)');
begin($client, q{SELECT count FROM plank_test.read_snapshot('many', keep => false, pause_for => 1)});
until_true('a long pause', "SELECT count(*) = 1 $reader AND state = 'active' AND clock_timestamp() - query_start > '3s'");
$gate->query('SELECT pg_advisory_unlock(1)');
is(end($client), 1000000, 'a client that takes its time');

# A fast stop while one reader waits for a lock and another for its client.
$gate->query('BEGIN; LOCK TABLE items; SELECT pg_advisory_lock(1)');
begin($others[1], q{SELECT count FROM plank_test.read_snapshot('many', keep => false, pause_for => 1)});
begin($client, q{SELECT count FROM plank_test.read_snapshot('items')});
until_true('both', "SELECT count(*) = 2 $reader AND state = 'active'");
until_true('the lock wanted', "SELECT count(*) = 1 $reader AND wait_event_type = 'Lock'");
ok($node->stop('fast'), 'a fast stop waits for neither');

# The postmaster dies while readers wait for a client, for a lock, and for work.
$node->start;
$node->wait_until_ready;
($gate, $client, @others) = map { session() } 1 .. 4;
$gate->query('BEGIN; LOCK TABLE items; SELECT pg_advisory_lock(1)');
$client->query(q{SELECT count FROM plank_test.read_snapshot('few')});
begin($others[0], q{SELECT count FROM plank_test.read_snapshot('many', keep => false, pause_for => 1)});
until_true('the pause', "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
my @readers = split /\n/, ask("SELECT pid $reader");
is(@readers, 2, 'two readers');
$node->kill9;
$node->wait_for('their end', sub { !grep { PlankCluster::process_lives($_) } @readers });
pass('no reader outlives the postmaster');
done_testing();
