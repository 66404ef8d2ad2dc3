# Several databases, each with workers and a port of its own: what happens in one is nobody else's business.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use PlankCluster;

my $other_port = PostgreSQL::Test::Cluster::get_free_port();
my $node = PlankCluster->create('main', bare => 1,
	conf => qq{plank.databases = 'postgres, "The ""Other"" one":$other_port'\nplank.workers = 2\nmax_worker_processes = 20});
my $other = 'The "Other" one';
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE "The ""Other"" one"');
$node->set_up('postgres');
$node->set_up($other);

is($node->safe_psql('postgres', q{SELECT database, port, count(*), bool_and(state = 'ready') FROM plank.stat GROUP BY 1, 2 ORDER BY 1}),
	"$other|$other_port|2|t\npostgres|" . $node->plank_port . '|2|t', 'plank.stat shows the workers of both, from either');
for my $case ([ postgres => $node->plank_port ], [ $other => $other_port ])
{
	my ($status, $body) = PlankClient::http($case->[1], '/health');
	is($status, 200, "$case->[0] is healthy");
	(my $in_json = $case->[0]) =~ s/"/\\"/g;
	like($body, qr/"database":"\Q$in_json\E"/, 'and says which database it is');
}

# Enough clients that both workers of each database have some.
sub clients
{
	my ($port) = @_;
	return map { my $c = PlankClient->reconnect($port); $c->subscribe('i', table => 'items'); $c->subscribe('c', channel => 'jobs'); $c } 1 .. 8;
}
$node->safe_psql($_, q{SELECT plank.expose('jobs')}) for 'postgres', $other;
my @here = clients($node->plank_port);
my @there = clients($other_port);

# Both hear of their own and of nothing else, though tables, channels and keys are the same.
sub heard { return [ map { my $t = $_->transaction; join ' ', map { $_->{new}{name} // $_->{payload} } @{ $t->{changes} } } @_ ] }
$node->safe_psql('postgres', q{BEGIN; INSERT INTO items VALUES (1, 'here'); SELECT plank.send('jobs', '"here"'); COMMIT});
$node->safe_psql($other, q{BEGIN; INSERT INTO items VALUES (1, 'there'); SELECT plank.send('jobs', '"there"'); COMMIT});
is_deeply(heard(@here), [ ('here here') x 8 ], 'each client hears of its database');
is_deeply(heard(@there), [ ('there there') x 8 ], 'and the other\'s of theirs');
$node->safe_psql('postgres', q{NOTIFY jobs, 'plain here'});
$node->safe_psql($other, q{NOTIFY jobs, 'plain there'});
is_deeply(heard(@here), [ ('plain here') x 8 ], 'a plain NOTIFY too');
is_deeply(heard(@there), [ ('plain there') x 8 ], 'of either');
is($node->safe_psql('postgres', 'SELECT database, count(*) FROM plank.clients GROUP BY 1 ORDER BY 1'), "$other|8\npostgres|8", 'plank.clients shows whose clients they are');
is($node->safe_psql($other, 'SELECT count(*) FROM plank.subscriptions WHERE database = current_database()'), 16, 'and plank.subscriptions what they watch');

# What befalls one.
my $mark = $node->log_mark;
my @ended = split /\n/, $node->worker_pid('postgres');
is(@ended, 2, 'two workers');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($_)") for @ended;
is($_->close_code, 1001, 'clients of a worker that is ended are told') for @here[ 0, 7 ];
$node->safe_psql($other, q{INSERT INTO items VALUES (2, 'goes on')});
is_deeply(heard(@there), [ ('goes on') x 8 ], 'the other database\'s clients do not notice');
$node->wait_for('their end', sub { !grep { PlankCluster::process_lives($_) } @ended });
$node->wait_until_ready('postgres');
@here = clients($node->plank_port);

$node->safe_psql($other, 'DROP EXTENSION plank CASCADE');
is($_->await('unsubscribed')->{code} =~ /^42/, 1, 'the extension goes from one') for @there[ 0, 7 ];
$node->safe_psql('postgres', q{INSERT INTO items VALUES (3, 'still here')});
is_deeply(heard(@here), [ ('still here') x 8 ], 'and stays in the other');
ok($node->wait_for('/health', sub { my ($status) = PlankClient::http($other_port, '/health'); ($status // 0) == 503 }), '/health of each says how it is');
is($node->log_count(qr/ERROR|FATAL|PANIC/, $mark), 0, 'without an error in the log');
$node->stop;
done_testing();
