# What an administrator does to the worker, or to the server around it, costs no client more than it must.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use PlankCluster;

my $node = PlankCluster->create('main');
my $client = $node->watcher;
my $pid = $node->worker_pid;

# P8
$node->safe_psql("postgres", "SELECT pg_cancel_backend($pid) FROM generate_series(1, 5), pg_sleep(0.02)") for 1 .. 4;
$node->insert(1);
is($client->transaction->{changes}[0]{new}{id}, 1, 'pg_cancel_backend drops no client');
is($node->worker_pid, $pid, 'nor the worker');

# P9
my $mark = $node->log_mark;
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
is($client->close_code, 1001, 'pg_terminate_backend closes clients with 1001');
$node->wait_for('its end', sub { !PlankCluster::process_lives($pid) });
$client = $node->watcher;
isnt($node->worker_pid, $pid, 'and the worker returns');
$node->insert(2);
is($client->transaction->{changes}[0]{new}{id}, 2, 'and serves');
is($node->log_count(qr/FATAL|WARNING|ERROR/, $mark), 0, 'without a complaint in the log');
$node->end_worker for 1 .. 2;
$client = $node->watcher;
is($node->log_count(qr/stays down/), 0, 'terminations are no crashes');

# P15: idle, with clients, after work.
$node->insert(3);
$client->transaction;
# Twice a second it has a look at the catalog, for less than a millisecond, longer when it is kept from running.
ok($node->wait_for('an idle worker', sub {
	$node->safe_psql('postgres', q{SELECT backend_xmin IS NULL AND backend_xid IS NULL AND state = 'idle'
		FROM pg_stat_activity WHERE backend_type = 'plank worker'}) eq 't'
}), 'the idle worker holds no xmin');
$node->safe_psql('postgres', 'CREATE TABLE dead AS SELECT generate_series(1, 1000); DELETE FROM dead');
ok($node->wait_for('VACUUM', sub { ($node->psql('postgres', 'VACUUM (VERBOSE) dead'))[2] =~ qr/, 0 remain, 0 are dead/ }), 'and lets VACUUM remove rows');

# P7: a stream as heavy as one writer can make it, and a reader that takes it.
$node->safe_psql('postgres', 'CREATE TABLE halt (); CREATE TABLE bulk (id int, t text); SELECT plank.track(\'bulk\'); GRANT SELECT ON bulk TO web');
my $reader = fork // die "fork: $!";
if ($reader == 0)
{
	eval { my $watcher = $node->watcher; $watcher->subscribe('bulk', table => 'bulk'); $watcher->discard(600) };
	require POSIX;
	POSIX::_exit(0);
}
$node->safe_psql('postgres', "CREATE DATABASE other$_") for 1 .. 3;
$node->wait_for('the reader', sub { $node->safe_psql('postgres', 'SELECT subscriptions FROM plank.stat') == 3 });
my $load = $node->background_psql('postgres');
$load->query_until(qr/started/, <<'SQL');
\echo started
DO $$ BEGIN LOOP
	INSERT INTO bulk SELECT g, repeat('y', 500) FROM generate_series(1, 500) g; COMMIT;
	UPDATE items SET name = name || 'y' WHERE id = 1; COMMIT;
	EXIT WHEN EXISTS (SELECT FROM halt);
END LOOP; END $$;
SQL
my $slowest = 0;
for (1 .. 3)
{
	my $began = time;
	$node->safe_psql('postgres', "DROP DATABASE other$_");
	my $took = time - $began;
	$slowest = $took if $took > $slowest;
}
# DROP DATABASE itself makes checkpoints and removes files; a worker that answers no interrupt holds it up for as long as it
# is busy, which is until it is told to halt.
pass('DROP DATABASE of another database does not wait for a busy worker');
note sprintf 'the slowest took %.2f s', $slowest;
my $began = time;
is($node->safe_psql('postgres', q{SELECT pg_log_backend_memory_contexts(pid) FROM pg_stat_activity WHERE backend_type = 'plank worker'}),
	't', 'asked for its memory under load');
$node->wait_for_line(qr/logging memory contexts of PID/, 0);
note sprintf 'answered in %.3f s', time - $began;
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%FROM halt%' AND state = 'active'
	AND pid <> pg_backend_pid()}), 1, 'and answers, all that while the load goes on');
$node->safe_psql('postgres', 'INSERT INTO halt DEFAULT VALUES');
$load->query('SELECT 1');
$load->quit;
$node->insert(4);
$client->await(sub { $_[0]{type} eq 'transaction' && ($_[0]{changes}[0]{new}{id} // 0) == 4 });
pass('and another client got all of its own');
kill 'TERM', $reader;
waitpid $reader, 0;
$node->stop;
done_testing();
