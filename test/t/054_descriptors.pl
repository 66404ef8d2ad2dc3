# P17: when a worker has no descriptors left, new clients wait or are refused; those it has are served, what PostgreSQL itself
# opens in the worker is not affected, and the server is none the wiser.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use IO::Socket::INET;
use PostgreSQL::Test::Utils;
use Test::More;
use PlankCluster;

my $node = PlankCluster->create('main', conf => 'max_files_per_process = 64');
my $first = $node->watcher;
my $port = $node->plank_port;
$node->safe_psql('postgres', q{CREATE TABLE later (id int PRIMARY KEY); GRANT SELECT ON later TO web});

sub open_files { my @files = glob "/proc/$_[0]/fd/*"; return scalar @files }
sub crowd { return grep { $_ } map { IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $port, Proto => 'tcp') } 1 .. $_[0] }
sub served
{
	my ($client, $id) = @_;
	$node->insert($id);
	return $client->transaction->{changes}[0]{new}{id} == $id;
}

# The limit falls below what the worker was started with: every accept fails.
my $pid = $node->worker_pid;
my $limit = open_files($pid) + 40;
system_or_bail('prlimit', "--pid=$pid", "--nofile=$limit:$limit");
my @crowd = crowd(100);
$node->wait_for('the descriptors to be used up', sub { open_files($pid) >= $limit - 1 });
$node->wait_for_line(qr/WARNING: .*new clients have to wait: could not accept a connection: Too many open files/, 0);
ok(served($first, 1), 'clients that are there are served');
$node->safe_psql('postgres', q{SELECT plank.track('later'); INSERT INTO later VALUES (1)});
ok($first->subscribe('later', table => 'later'), 'the worker still reads the catalog');
$node->safe_psql('postgres', q{INSERT INTO later VALUES (2)});
is($first->transaction->{changes}[0]{new}{id}, 2, 'and delivers');
is($node->safe_psql('postgres', 'SELECT count(*) FROM later'), 2, 'other sessions know nothing of it');
is($node->log_count(qr/new clients have to wait/), 1, 'the log says it once');
close $_ for @crowd;
my $late = $node->reconnect;
$late->subscribe('items', table => 'items');
ok(served($late, 2), 'as soon as some leave, new clients come in');
is($first->transaction->{changes}[0]{new}{id}, 2, 'and the old ones are there');

# A worker that starts with a small limit leaves room for PostgreSQL's own files.
my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
system_or_bail('prlimit', "--pid=$postmaster", '--nofile=200:200');
my $mark = $node->log_mark;
$node->end_worker($pid);
$first = $node->watcher;
$node->wait_for_line(qr/WARNING: .*the limit of open files \(200\) is too low for 10000 connections/, $mark);
@crowd = crowd(300);
ok(served($first, 3), 'a worker with few descriptors serves');
close $_ for @crowd;
ok($node->reconnect, 'and lets others in when there is room');
is($node->log_count(qr/ERROR|FATAL|PANIC/), 0, 'no error in the log');
$node->stop;
done_testing();
