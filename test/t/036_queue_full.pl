# P16: when somebody lets the notification queue fill, Plank steps back long before commits would fail: above the half it
# sends one marker in place of a transaction's changes, near the end nothing, and subscribers are reset either way.
# A worker looks at the queue twice a second; so that a test can say what it holds, the worker is stopped meanwhile, as a
# busy machine might.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Utils;
use Test::More;
use PlankCluster;

my $node = PlankCluster->create('main');
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION plank_test;
CREATE TABLE beside (id int PRIMARY KEY);
CREATE TABLE public_too (id int PRIMARY KEY);
GRANT SELECT ON beside, public_too TO web;
SELECT plank.track('beside'), plank.track('public_too', notify => 'changes'), plank.expose('jobs');
SQL
my $pid = $node->worker_pid;
my $client = $node->watcher;
$client->subscribe('beside', table => 'beside');
$client->subscribe('jobs', channel => 'jobs');

# Runs SQL while the worker stands still in its sleep, then lets it go on.
sub meanwhile
{
	my ($sql) = @_;
	$node->wait_for('the worker to stand still', sub {
		kill 'STOP', $pid;
		$node->wait_for('it to be stopped', sub { slurp_file("/proc/$pid/stat") =~ /\) T / });
		return 1 if $node->safe_psql('postgres', "SELECT wait_event FROM pg_stat_activity WHERE pid = $pid") eq 'Extension';
		kill 'CONT', $pid;
		return 0;
	});
	my @result = $node->psql('postgres', $sql, on_error_die => 0);
	kill 'CONT', $pid;
	is($result[0], 0, 'every commit succeeds') or diag $result[2];
	return;
}
# What comes before the row with this number.
sub told_before
{
	my ($id) = @_;
	my @told;
	while (1)
	{
		my $message = $client->await(sub { $_[0]{type} =~ /^(transaction|reset)$/ });
		if ($message->{type} eq 'reset') { push @told, "reset $message->{id}"; next }
		return join ', ', sort @told if ($message->{changes}[0]{new}{id} // 0) == $id;
		push @told, map { "$_->{op} $_->{ids}[0]" } @{ $message->{changes} };
	}
}

meanwhile(q{SELECT plank_test.set_queue_usage(499); INSERT INTO items VALUES (1, 'x')});
is(told_before(1), '', 'below the half all is as ever');
meanwhile(q{SELECT plank_test.set_queue_usage(500); INSERT INTO items VALUES (2, 'x'); UPDATE items SET name = 'y';
	SELECT plank_test.set_queue_usage(0); INSERT INTO items VALUES (3, 'x')});
is(told_before(3), 'reset items, reset items', 'above it each transaction is a marker that resets the tables it changed');
meanwhile(q{SELECT plank_test.set_queue_usage(899); BEGIN; INSERT INTO items SELECT i, 'x' FROM generate_series(1000, 3000) i;
	INSERT INTO beside VALUES (1); SELECT plank.send('jobs', '1'); COMMIT; SELECT plank_test.set_queue_usage(0);
	INSERT INTO items VALUES (4, 'x')});
is(told_before(4), 'reset beside, reset items', 'however many changes and tables it has');
meanwhile(q{SELECT plank_test.set_queue_usage(900); INSERT INTO beside VALUES (2); SELECT plank_test.set_queue_usage(0);
	INSERT INTO items VALUES (5, 'x')});
is(told_before(5), '', 'near the end nothing goes into the queue');
$node->insert(6);
is(told_before(6), 'reset beside, reset items', 'and everybody is reset, behind what had gone');
meanwhile(q{SELECT plank_test.set_queue_usage(900); BEGIN; INSERT INTO beside VALUES (3); ROLLBACK; SELECT plank_test.set_queue_usage(0)});
$node->insert(7);
is(told_before(7), '', 'what is rolled back resets nobody');

# Public channels are left out first: they are the worker's own NOTIFYs.
$node->wait_for('public notifications to be left out', sub {
	meanwhile(q{INSERT INTO public_too SELECT count(*) FROM public_too; SELECT plank_test.set_queue_usage(600)});
	$node->safe_psql('postgres', 'SELECT pg_sleep(0.6)');
	return $node->safe_psql('postgres', 'SELECT notify_skipped > 0 FROM plank.stat') eq 't';
});
like($node->log_since(0), qr/WARNING: .*public notifications are skipped\n.*HINT: /, 'with a WARNING and a HINT');
is($node->log_count(qr/ERROR/), 0, 'nobody had an error');
$node->stop;
done_testing();
