# A reload takes effect without dropping clients, and a value that cannot be used leaves everything as it was.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use IO::Socket::INET;
use PostgreSQL::Test::Utils;
use Test::More;
use PlankCluster;

my $node = PlankCluster->create('main');
my $number = 100;
sub delivered { my ($client) = @_; $node->insert(++$number); return $client->transaction->{changes}[0]{new}{id} == $number }

my $client = $node->watcher;
my $pid = $node->worker_pid;

# P18
my $mark = $node->set('plank.max_message_size', q{'a lot'});
$node->wait_for_line(qr/invalid value for parameter "plank\.max_message_size"/, $mark);
ok(delivered($client), 'a bad value keeps the clients');
$client->send({ type => 'ping', filler => 'x' x 60000 });
ok($client->await('pong'), 'and the old value');
is($node->log_count(qr/LOG: .*invalid value for parameter "plank\.max_message_size"/, $mark), 1, 'one line says so');

$node->set('plank.max_message_size', '2kB');
my $other = $node->client;
$node->wait_for('the new limit', sub {
	my $probe = $node->client;
	$probe->send({ type => 'ping', filler => 'x' x 3000 });
	($probe->close_code(1) // 0) == 1009;
});
ok(delivered($client), 'plank.max_message_size changes under a connected client');
$client->send({ type => 'ping', filler => 'x' x 3000 });
is($client->close_code, 1009, 'and holds for it from then on');
ok($other->is_open, 'others do not feel it');
$node->set('plank.max_message_size', '64kB');
$client = $node->watcher;

# Another port.
my $old = $node->plank_port;
my $new = PostgreSQL::Test::Cluster::get_free_port();
$mark = $node->set('plank.port', $new);
$node->{plank_port} = $new;
my $newcomer = $node->reconnect;
ok($newcomer->is_open, 'plank.port changes');
ok(!IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $old), 'the old one is closed');
ok(delivered($client), 'clients of the old one stay');
is($node->safe_psql('postgres', 'SELECT port FROM plank.stat'), $new, 'plank.stat shows the new one')
  if $node->wait_for('plank.stat', sub { $node->safe_psql('postgres', 'SELECT port FROM plank.stat') eq $new });

# A port that is taken: the WARNING, and back.
my $holder = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 1) or die "port: $!";
$mark = $node->set('plank.port', $holder->sockport);
$node->wait_for_line(qr/WARNING: .*could not listen.*\n.*HINT/, $mark);
ok(delivered($client), 'a taken port keeps the clients');
$node->set('plank.port', $new);
ok($node->reconnect, 'and can be taken back');

# Other addresses.
$node->set('plank.listen_addresses', q{'127.0.0.2'});
ok(PlankClient->reconnect($new, host => '127.0.0.2'), 'plank.listen_addresses changes');
ok(!IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $new), 'the old one is closed');
ok(delivered($client), 'clients of the old one stay');
$node->set('plank.listen_addresses', q{'127.0.0.1'});
ok($node->reconnect, 'back');

# Fewer subscriptions and connections than there are.
$node->set('plank.max_connections', 1);
$node->wait_for('the limit', sub { !eval { $node->client } && $@ =~ /503/ });
ok(delivered($client), 'plank.max_connections below what is connected closes nobody');
$node->set('plank.max_connections', 100);
$node->wait_for('room', sub { eval { $node->client } });

# The anonymous role.
$node->safe_psql('postgres', q{CREATE ROLE other; CREATE ROLE boss SUPERUSER; CREATE ROLE bypass BYPASSRLS; GRANT SELECT ON items TO other});
for my $case ([ boss => 'it is a superuser' ], [ bypass => 'it bypasses row security' ], [ absent => 'it does not exist' ],
	[ pg_read_all_data => 'its name is reserved' ])
{
	my ($role, $why) = @$case;
	$client = $node->watcher;
	$mark = $node->log_mark;
	$node->safe_psql('postgres', "ALTER SYSTEM SET plank.anonymous_role = '$role'");
	$node->reload;
	$node->wait_for_line(qr/WARNING: .*plank\.anonymous_role "$role" is not used: $why\n.*HINT/, $mark);
	my $ended = $client->await('unsubscribed');
	is($ended->{code}, 28000, "plank.anonymous_role = '$role' is refused, and ends the former role's subscriptions");
	is($node->reconnect->await('welcome')->{role}, undef, 'such clients have no role');
	is($node->log_count(qr/is not used/, $mark), 1, 'which is said once');
	$node->safe_psql('postgres', 'ALTER SYSTEM RESET plank.anonymous_role');
	$node->reload;
	$node->wait_for('the role', sub { ($node->client->await('welcome')->{role} // '') eq 'web' });
}
$client = $node->watcher;
$node->safe_psql('postgres', q{ALTER SYSTEM SET plank.anonymous_role = 'other'});
$node->reload;
is($client->await('unsubscribed')->{code}, 28000, 'another role ends the former role\'s subscriptions');
$node->wait_for('the role', sub { ($node->client->await('welcome')->{role} // '') eq 'other' });
ok(delivered($node->watcher), 'the new one is served');
is($client->close_code, 4001, 'and its connections with 4001');

# The role is dropped, and made again.
$mark = $node->log_mark;
$node->safe_psql('postgres', 'REVOKE ALL ON items FROM other; DROP ROLE other');
$node->wait_for_line(qr/plank\.anonymous_role "other" is not used: it does not exist/, $mark);
$node->safe_psql('postgres', 'CREATE ROLE other; GRANT SELECT ON items TO other');
$node->wait_for('the role', sub { ($node->client->await('welcome')->{role} // '') eq 'other' });
ok(delivered($node->watcher), 'a role that is dropped and made again is noticed without a reload');

is($node->worker_pid, $pid, 'it was one and the same worker all the time');
$node->stop;
done_testing();
