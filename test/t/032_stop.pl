# However the server ends, its clients learn it soon and no process stays behind. This test crashes the server on purpose.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use PlankCluster;

# A stop that waited for some client would wait for this hour, and pg_ctl would give up.
my $node = PlankCluster->create('main', conf => "max_files_per_process = 4000\nplank.send_timeout = '1h'");

# Two thousand clients in processes of 250 each: select() and the limit of open files know no more. Each process reports
# on a pipe when all of its clients watch, and at the end the close codes it saw.
sub crowd
{
	my ($processes, $each) = @_;
	my @pipes;
	for (1 .. $processes)
	{
		pipe my $read, my $write or die "pipe: $!";
		my $pid = fork // die "fork: $!";
		if ($pid == 0)
		{
			close $read;
			my %codes;
			eval {
				my @clients = map { $node->client } 1 .. $each;
				$_->subscribe('i', table => 'items') for @clients;
				syswrite $write, "ready\n";
				$codes{ $_->close_code // 'open' }++ for @clients;
			};
			$codes{$@}++ if $@;
			syswrite $write, join(' ', map { "$_:$codes{$_}" } sort keys %codes) . "\n";
			require POSIX;
			POSIX::_exit(0);
		}
		close $write;
		push @pipes, [ $pid, $read ];
	}
	readline $_->[1] for @pipes;
	return @pipes;
}
sub codes_of
{
	my %codes;
	for (@_)
	{
		my $codes = readline $_->[1];
		chomp $codes;
		waitpid $_->[0], 0;
		for (split / /, $codes) { my ($code, $count) = split /:/; $codes{$code} += $count }
	}
	return \%codes;
}

my @crowd = crowd(8, 250);
is($node->safe_psql('postgres', 'SELECT clients FROM plank.stat'), '2000', '2000 clients are connected')
  if $node->wait_for('the count', sub { $node->safe_psql('postgres', 'SELECT clients FROM plank.stat') eq '2000' });
my $began = time;
$node->stop('fast');
note sprintf 'stopped in %.2f s', time - $began;
is_deeply(codes_of(@crowd), { 1001 => 2000 }, 'a fast stop closes each of them with 1001');

# Clients that do not read hold nobody up.
$node->start;
$node->wait_until_ready;
my @deaf = map { my $c = $node->client; $c->subscribe('i', table => 'items'); $c } 1 .. 3;
$node->safe_psql('postgres', q{INSERT INTO items SELECT i, repeat('x', 1000) FROM generate_series(1, 30000) i});
$node->wait_for('the transaction', sub { $node->safe_psql('postgres', 'SELECT transactions FROM plank.stat') > 0 });
$began = time;
ok($node->stop('fast'), 'a fast stop does not wait for clients that do not read');
note sprintf 'stopped in %.2f s', time - $began;
$_->disconnect for @deaf;

$node->start;
$node->wait_until_ready;
my $client = $node->watcher;
my $worker = $node->worker_pid;
$node->stop('immediate');
is($client->close_code, 0, 'an immediate stop breaks connections');
ok(!PlankCluster::process_lives($worker), 'and leaves no process');
is_deeply([ glob $node->data_dir . '/base/pgsql_tmp/plank*' ], [], 'and no file');

# P6
$node->start;
$node->wait_until_ready;
$client = $node->watcher;
$worker = $node->worker_pid;
my $postmaster = $node->{_pid};
$began = time;
$node->kill9;
ok($node->wait_for('the end of the worker', sub { !PlankCluster::process_lives($worker) }), 'when the postmaster is killed the worker goes');
note sprintf 'gone in %.2f s', time - $began;
is($client->close_code, 0, 'with its connections');
# A zombie's number stands in the lock file as a living process's would.
$node->wait_for('the end of the postmaster', sub { !kill 0, $postmaster });
$node->start_again;
$node->wait_until_ready;
$client = $node->watcher;
$node->insert(0);
is($client->transaction->{changes}[0]{new}{id}, 0, 'and nothing blocks a restart');
$node->stop;
done_testing();
