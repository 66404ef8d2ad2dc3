# P4: memory is bounded by the settings on both sides, those who lag most are cut first, and no writer waits.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Utils;
use Test::More;
use PlankCluster;

my $node = PlankCluster->create('main', conf => <<'CONF');
plank.history_size = 8MB
plank.spill_size = 32MB
plank.send_timeout = '1h'
plank.notify_limit = 16MB
fsync = off
CONF
$node->safe_psql('postgres', q{CREATE TABLE load (id int, t text); GRANT SELECT ON load TO web; SELECT plank.track('load')});

# Clients that do not read, and no two of them watch the same: each needs frames of its own.
my @deaf = map {
	my $client = $node->client;
	$client->subscribe("load $_", table => 'load');
	$client->subscribe('items', table => 'items');
	$client;
} 1 .. 20;
# One that reads, in a process of its own, and says after each thousand rows that it has them.
my $rows = 200_000;
pipe my $progress, my $tell or die "pipe: $!";
my $reader = fork // die "fork: $!";
if ($reader == 0)
{
	close $progress;
	my ($seen, $told) = (0, 0);
	eval {
		my $client = $node->client(raw => 1);
		$client->send({ type => 'subscribe', id => 'load', table => 'load' });
		while (defined(my $text = $client->next))
		{
			$seen += () = $text =~ /"op":"insert"/g;
			for (; $told < int($seen / 1000); $told++) { syswrite $tell, '.' }
			last if $seen >= $rows || $text =~ /"type":"reset"/;
		}
	};
	require POSIX;
	POSIX::_exit($seen == $rows ? 0 : 1);
}
$node->wait_for('the reader', sub { $node->safe_psql('postgres', 'SELECT subscriptions FROM plank.stat') == 41 });

my $worker = $node->worker_pid;
my $idle = PlankCluster::memory_of($worker);
my $most = 0;
# 200 MB in transactions of 1 MB, five times of what memory and disk together may hold. On a busy machine the reader would
# be one who lags, if it were never waited for.
close $tell;
my $read = 0;
my $session = $node->background_psql('postgres');
for my $written (1 .. $rows / 1000)
{
	while ($written - $read > 16) { $read += sysread($progress, my $news, 64) || last }
	$session->query_safe(q{INSERT INTO load SELECT i, repeat('x', 1000) FROM generate_series(1, 1000) i});
	my $now = PlankCluster::memory_of($worker);
	$most = $now if $now > $most;
}
pass('no writer waits for clients that do not read');
waitpid $reader, 0;
is($?, 0, 'who reads gets everything');
# Twice the history for small transactions, what is being read from the queue, and 64 kB of a frame for each client.
cmp_ok($most - $idle, '<', 64 * 1024, sprintf 'the worker grows by %d MB', ($most - $idle) / 1024);
cmp_ok($node->safe_psql('postgres', 'SELECT max(log_bytes + spill_bytes) FROM plank.stat'), '<=', (2 * 8 + 32) << 20, 'the log keeps to its limits');
ok($node->wait_for('the deaf to be cut', sub { $node->safe_psql('postgres', 'SELECT clients_too_slow FROM plank.stat') == @deaf }),
	'who lags so far that the log has moved on is cut');
is($_->close_code, 4008, 'with 4008') for @deaf;

# The writer's side (C10): beyond plank.notify_limit there is a marker in place of the changes, and no memory.
my $client = $node->client;
$client->subscribe('load', table => 'load');
my $pid = $session->query('SELECT pg_backend_pid()');
$session->query(q{INSERT INTO load SELECT i, 'warm' FROM generate_series(1, 1000) i});
is(scalar @{ $client->transaction->{changes} }, 1000, 'a transaction within the limit arrives');
my $before = PlankCluster::memory_of($pid);
$session->query(q{BEGIN; INSERT INTO load SELECT i, 'x' FROM generate_series(1, 1000000) i});
cmp_ok(PlankCluster::memory_of($pid) - $before, '<', 48 * 1024, 'the session that writes a million rows keeps no more than the limit');
$session->query('COMMIT');
is($client->await('reset')->{id}, 'load', 'and its subscribers are reset');
is($node->safe_psql('postgres', q{SELECT count(*) FROM load WHERE t = 'x'}), 1000000, 'the million is there');
$node->insert(1);
ok($client->is_open, 'and the stream goes on');
$session->quit;
$node->stop;
done_testing();
