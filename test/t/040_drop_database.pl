# The served database can be dropped, renamed and copied; while it is gone the log stays quiet, and when there is one of
# its name again it is served.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Utils;
use Test::More;
use PlankCluster;

my $node = PlankCluster->create('main', bare => 1);
$node->append_conf('postgresql.conf', "plank.databases = 'postgres, shop'");
$node->start;
$node->set_up('postgres');
my $shop_port = $node->plank_port + 1;

# P11: a database that does not exist (yet): one worker that tries again at growing intervals.
$node->wait_for_line(qr/FATAL: .*database "shop" does not exist/, 0);
my $mark = $node->log_mark;
sleep 6;
cmp_ok($node->log_count(qr/database "shop" does not exist/, $mark), '<=', 3, 'a missing database is looked for less and less often');
like($node->safe_psql('postgres', q{SELECT state FROM plank.stat WHERE database = 'shop'}), qr/down|starting/, 'plank.stat says so');
is($node->safe_psql('postgres', q{SELECT state FROM plank.stat WHERE database = 'postgres'}), 'ready', 'others are served');

$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->restart;
$node->set_up('shop');
my $client = PlankClient->reconnect($shop_port);
$client->subscribe('i', table => 'items');

# P10
my ($status, undef, $error) = $node->psql('postgres', 'DROP DATABASE shop');
isnt($status, 0, 'DROP DATABASE of a served database is refused, as with any session in it');
like($error, qr/database "shop" is being accessed by other users/, 'by PostgreSQL');
ok($client->is_open, 'which drops no client');
$mark = $node->log_mark;
$node->safe_psql('postgres', 'DROP DATABASE shop WITH (FORCE)');
is($client->close_code, 1001, 'WITH (FORCE) succeeds, and clients are told');
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->set_up('shop');
$client = PlankClient->reconnect($shop_port);
$client->subscribe('i', table => 'items');
$node->safe_psql('shop', 'INSERT INTO items VALUES (1)');
is($client->transaction->{changes}[0]{new}{id}, 1, 'a new database of the name is served');
cmp_ok($node->log_count(qr/FATAL/, $mark), '<=', 4, 'and the log was not filled with FATAL lines');
$node->stop;
done_testing();
