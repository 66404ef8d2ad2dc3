# A crash of the worker restarts the cluster, and everything comes back by itself; one that crashes again and again stays
# down and leaves the server alone; so does one whose snapshots' readers crash; other processes' crashes are not held
# against it. This test crashes the server on purpose.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use PlankCluster;

my $node = PlankCluster->create('main', conf => 'plank.crash_limit = 2');

my $row = 100;

# P1 and P3: crash, back, and the client knows that it missed something.
sub crash
{
	my ($signal, $pid) = @_;
	my $client = $node->watcher;
	$node->insert(++$row);
	my $before = $client->transaction->{position};
	my $mark = $node->log_mark;
	kill $signal, $pid // $node->worker_pid or die "no process to crash: $!";
	is($client->close_code, 0, "SIG$signal: the connection breaks");
	$node->wait_for_line(qr/all server processes terminated; reinitializing/, $mark);
	my $again = $node->watcher;
	ok($again, 'clients reconnect');
	$node->insert(++$row);
	my $transaction = $again->transaction;
	is($transaction->{changes}[0]{new}{id}, $row, 'and see what commits from then on');
	my ($old_epoch, $new_epoch) = map { /^([^-]+)/ } $before, $transaction->{position};
	isnt($new_epoch, $old_epoch, "positions begin a new epoch ($before, then $transaction->{position})");
	return;
}

sub other_backend
{
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	return ($session, $session->query('SELECT pg_backend_pid()'));
}

for my $round (1 .. 3)
{
	my ($session, $pid) = other_backend();
	crash('KILL', $pid);
	eval { $session->quit };
}
is($node->log_count(qr/stays down/), 0, 'crashes of other processes are not counted');

crash('SEGV');
is($node->log_count(qr/stays down/), 0, 'one crash of its own is below the limit');

# P2: the second one within the minute.
my $mark = $node->log_mark;
kill 'KILL', $node->worker_pid;
$node->wait_for_line(qr/WARNING: .*plank worker stays down after 2 crashes.*\n.*HINT: .*plank\.crash_limit/, $mark);
$node->wait_for('the server', sub { my ($status) = $node->psql('postgres', 'SELECT 1'); return defined $status && $status == 0 });
$node->insert(1);
is($node->safe_psql('postgres', 'SELECT count(*) FROM items WHERE id = 1'), 1, 'writers of tracked tables are not affected');
is($node->safe_psql('postgres', 'SELECT state, pid IS NULL, port IS NULL FROM plank.stat'), 'down|t|t', 'plank.stat says down');
is($node->safe_psql('postgres', q{SELECT plank.wait_until_ready('100ms')}), 'f', 'and nobody waits in vain');
ok(!PlankClient::http($node->plank_port, '/health'), 'the port is closed');
$node->safe_psql('postgres', 'SELECT pg_reload_conf()');

# An unrelated crash restarts the others, not the worker.
$mark = $node->log_mark;
my ($session, $pid) = other_backend();
kill 'KILL', $pid;
$node->wait_for_line(qr/all server processes terminated; reinitializing/, $mark);
$node->wait_for('the server', sub { my ($status) = $node->psql('postgres', 'SELECT 1'); return defined $status && $status == 0 });
is($node->safe_psql('postgres', 'SELECT state FROM plank.stat'), 'down', 'it stays down');
is($node->log_count(qr/plank worker stays down/), 1, 'which is said once');

$node->restart;
$node->wait_until_ready;
my $client = $node->watcher;
$node->insert(2);
is($client->transaction->{changes}[0]{new}{id}, 2, 'a restart of the server brings it back');

# A process that has read a snapshot for the worker, and has nothing to do any more.
sub idle_reader
{
	my $reader = $node->client;
	$reader->subscribe('a', table => 'items', snapshot => JSON::PP::true);
	$reader->await('rows');
	$reader->disconnect;
	my $found;
	$node->wait_for('a reader', sub { $found = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'plank snapshot' LIMIT 1}) });
	return $found;
}
for my $round (1 .. 3)
{
	idle_reader();
	my ($other, $other_pid) = other_backend();
	crash('KILL', $other_pid);
	eval { $other->quit };
}
is($node->log_count(qr/stays down/), 1, 'crashes of other processes are not counted for who has readers either');

# The same row or condition would crash the next one too, so it counts as the worker itself.
crash('KILL', idle_reader());
$mark = $node->log_mark;
kill 'KILL', idle_reader();
$node->wait_for_line(qr/WARNING: .*plank worker stays down after 2 crashes/, $mark);
$node->wait_for('the server', sub { my ($status) = $node->psql('postgres', 'SELECT 1'); return defined $status && $status == 0 });
is($node->safe_psql('postgres', 'SELECT state FROM plank.stat'), 'down', 'a reader that crashes again and again ends the worker');

$node->stop;
done_testing();
