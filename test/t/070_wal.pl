# The transport wal from end to end: transactions arrive whole, in order, once, whatever savepoints, prepared transactions,
# asynchronous commits and other databases do; forged messages are ignored.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Utils;
use Test::More;
use PlankCluster;

my $node = PlankCluster->create('main', conf => <<'CONF');
plank.transport = wal
wal_level = replica
plank.databases = 'postgres, other'
max_prepared_transactions = 10
wal_keep_size = 256MB
CONF
# The first database's port is the test's own, so the second one's is given too.
my $client = $node->watcher;

sub ids { return join ' ', map { $_->{op} eq 'delete' ? "-$_->{key}{id}" : $_->{new}{id} } @{ $_[0]{changes} } }

$node->insert(1);
my $transaction = $client->transaction;
is(ids($transaction), '1', 'a row arrives');
like($transaction->{position}, qr/^w[\w-]+$/, 'with a position of the WAL');
like($transaction->{committed_at}, qr/^20\d\d-.*Z$/, 'and the commit record\'s time');

# Savepoints, with levels large enough to be written before they end.
$node->safe_psql('postgres', <<'SQL');
BEGIN;
INSERT INTO items SELECT i, repeat('x', 1000) FROM generate_series(1001, 1200) i;
SAVEPOINT a;
INSERT INTO items SELECT i, repeat('x', 1000) FROM generate_series(2001, 2200) i;
ROLLBACK TO a;
INSERT INTO items SELECT i, repeat('x', 1000) FROM generate_series(3001, 3200) i;
RELEASE a;
SAVEPOINT b;
INSERT INTO items VALUES (4001, 'small');
ROLLBACK TO b;
INSERT INTO items VALUES (5001, 'small');
COMMIT;
SQL
is(ids($client->transaction), join(' ', 1001 .. 1200, 3001 .. 3200, 5001), 'what savepoints took back is not sent, the rest in order');

$node->safe_psql('postgres', q{BEGIN; INSERT INTO items SELECT i, repeat('x', 1000) FROM generate_series(6001, 6200) i; ROLLBACK});
$node->insert(2);
is(ids($client->transaction), '2', 'a transaction that is rolled back is not sent');

# Two-phase commit.
$node->safe_psql('postgres', q{BEGIN; INSERT INTO items VALUES (10, 'p'); PREPARE TRANSACTION 'p'});
$node->safe_psql('postgres', q{BEGIN; INSERT INTO items VALUES (11, 'q'); PREPARE TRANSACTION 'q'});
$node->insert(3);
is(ids($client->transaction), '3', 'a prepared transaction is not sent');
$node->safe_psql('postgres', q{COMMIT PREPARED 'q'});
is(ids($client->transaction), '11', 'until it is committed');
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'p'});

# Asynchronous commits arrive once they are flushed.
$node->safe_psql('postgres', q{SET synchronous_commit = off; INSERT INTO items VALUES (20, 'async')});
is(ids($client->transaction), '20', 'an asynchronous commit arrives');

# Forged messages: everybody may write them.
my $secret = $node->safe_psql('postgres', 'SELECT secret FROM plank.secret');
$node->safe_psql('postgres', <<'SQL');
SELECT pg_logical_emit_message(true, 'plank:00000000000000000000000000000000', 'anything');
SELECT pg_logical_emit_message(true, 'plank:', 'anything');
SELECT pg_logical_emit_message(true, 'another', 'anything');
SELECT pg_logical_emit_message(false, 'plank:00000000000000000000000000000000', repeat('x', 10000000));
SQL
$node->insert(4);
is(ids($client->transaction), '4', 'forged messages are passed over');
$node->wait_for('the count of forged messages', sub { $node->safe_psql('postgres', q{SELECT messages_forged FROM plank.stat WHERE database = 'postgres'}) == 3 });
pass('and counted');

# Another database in the same WAL.
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->wait_for('the worker of the other database', sub { $node->worker_pid('other') });
$node->set_up('other');
my $port = $node->safe_psql('postgres', q{SELECT port FROM plank.stat WHERE database = 'other'});
my $other = PlankClient->reconnect($port);
$other->subscribe('items', table => 'items');
$node->safe_psql('other', q{INSERT INTO items VALUES (1, 'other')});
$node->insert(5);
is(ids($client->transaction), '5', 'each client gets what is of its own database');
my $theirs = $other->transaction;
is($theirs->{changes}[0]{new}{name}, 'other', 'the other too');

# Order: thousands of transactions of several writers arrive in an order in which they can be applied.
my %rows;
my @writers = map { $node->background_psql('postgres') } 1 .. 4;
$_->query_until(qr/go/, qq{\\echo go\nSELECT 1 FROM generate_series(1, 300);\n}) for @writers;
for my $round (1 .. 60)
{
	for my $i (0 .. $#writers)
	{
		$writers[$i]->query_safe(sprintf q{INSERT INTO items VALUES (%d, '%s'); UPDATE items SET name = name || '.' WHERE id = 3}, 100000 * ($i + 1) + $round, $i);
	}
}
$_->quit for @writers;
my $count = 0;
my $name = 'x';
while ($count < 480)
{
	for my $change (@{ $client->transaction->{changes} })
	{
		$count++;
		next if $change->{op} ne 'update';
		$name eq $change->{old}{name} or fail("a change to '$change->{new}{name}' came after '$name'");
		$name = $change->{new}{name};
	}
}
is($name, $node->safe_psql('postgres', 'SELECT name FROM items WHERE id = 3'), 'the last state is the table\'s');

is($node->safe_psql('postgres', q{SELECT resets_lost + resets_resume FROM plank.stat WHERE database = 'postgres'}), '0', 'nobody was reset');
$node->stop;
done_testing();
