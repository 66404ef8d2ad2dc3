# The extension comes, goes and comes again while clients wait; a version that does not fit is not served; without
# preloading everything says what to do.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Utils;
use Test::More;
use PlankCluster;

my $node = PlankCluster->create('main', bare => 1);
$node->start;
sub health { my ($status, $body) = PlankClient::http($node->plank_port, '/health'); return ($status // 0) . ' ' . ($body // '') }

$node->wait_for('/health', sub { health() =~ /not installed/ });
like(health(), qr/^503 \{"status":"not ready","reason":"extension plank is not installed.*CREATE EXTENSION plank/,
	'without the extension /health says what to do');
ok(!eval { $node->client }, 'clients are refused');
like($@, qr/503/, 'with 503');
is($node->log_count(qr/plank: .*run CREATE EXTENSION plank/), 1, 'the log has it once');
sleep 2;
is($node->log_count(qr/plank: .*run CREATE EXTENSION plank/), 1, 'and only once');

$node->set_up('postgres');
pass('CREATE EXTENSION is noticed');
my $client = $node->watcher;
$node->insert(1);
is($client->transaction->{changes}[0]{new}{id}, 1, 'and served');

my $mark = $node->log_mark;
$node->safe_psql('postgres', 'BEGIN; DROP EXTENSION plank CASCADE; ROLLBACK');
$node->insert(2);
is($client->transaction->{changes}[0]{new}{id}, 2, 'a DROP that is rolled back changes nothing');

$node->safe_psql('postgres', 'DROP EXTENSION plank CASCADE');
my $ended = $client->await('unsubscribed');
is("$ended->{id} $ended->{code}", 'items 42P01', 'DROP EXTENSION ends subscriptions');
$node->wait_for('/health', sub { health() =~ /^503/ });
$node->insert(3);
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_trigger WHERE tgrelid = \'items\'::regclass'), 0, 'no trigger is left');
ok(!eval { $node->client }, 'new clients are refused');

$node->safe_psql('postgres', q{CREATE EXTENSION plank; SELECT plank.track('items')});
$node->wait_until_ready;
ok($client->is_open, 'a client lives through both');
$client->subscribe('again', table => 'items');
$node->insert(4);
is($client->transaction->{changes}[0]{new}{id}, 4, 'and can subscribe again');
is($node->log_count(qr/ERROR|WARNING|FATAL/, $mark), 0, 'the log has no complaint');

# Version skew, as after an upgrade of the package without ALTER EXTENSION.
my $version = $node->safe_psql('postgres', q{SELECT extversion FROM pg_extension WHERE extname = 'plank'});
$node->safe_psql('postgres', q{UPDATE pg_extension SET extversion = '0.0.9' WHERE extname = 'plank'});
$node->restart;
$node->wait_for('/health', sub { health() =~ /0\.0\.9/ });
like(health(), qr/^503 .*version 0\.0\.9.*ALTER EXTENSION plank UPDATE/, '/health says that the versions differ');
is($node->safe_psql('postgres', 'SELECT state FROM plank.stat'), 'waiting for ALTER EXTENSION plank UPDATE', 'plank.stat too');
$node->insert(5);
pass('writers go on');
$node->safe_psql('postgres', "UPDATE pg_extension SET extversion = '$version' WHERE extname = 'plank'");
$node->wait_until_ready;
pass('mended without a restart');

# Not preloaded.
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', q{''});
$node->restart;
$node->insert(6);
$node->safe_psql('postgres', q{CREATE TABLE more (id int PRIMARY KEY); SELECT plank.track('more'); INSERT INTO more VALUES (1)});
pass('without preloading, tracked tables can be written and tables be tracked');
is($node->safe_psql('postgres', 'SELECT count(*) FROM plank.tracked'), 2, 'plank.tracked shows them');
for my $query (q{SELECT plank.wait_until_ready('1s')}, 'SELECT * FROM plank.stat', 'SELECT * FROM plank.clients')
{
	my (undef, undef, $error) = $node->psql('postgres', $query);
	like($error, qr/shared_preload_libraries/, "$query says what is missing");
}
$node->safe_psql('postgres', q{SELECT plank.send('jobs', '1'); BEGIN; INSERT INTO more VALUES (2); SAVEPOINT s;
	INSERT INTO more VALUES (3); ROLLBACK TO s; COMMIT; ALTER TABLE more RENAME TO fewer; DROP TABLE fewer});
pass('and the rest is harmless');
$node->stop;
done_testing();
