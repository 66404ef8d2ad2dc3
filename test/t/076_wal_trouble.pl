# What cannot be delivered leads to reset, and the worker lives: WAL recycled under the reader, no room for a large transaction,
# an extension that is dropped and made again.
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
wal_keep_size = 0
max_wal_size = 32MB
plank.history_size = 4MB
max_prepared_transactions = 2
CONF
sub ids { return join ' ', map { $_->{new}{id} } @{ $_[0]{changes} } }
my $client = $node->watcher;
my $pid = $node->worker_pid;
# New sessions show a setting when the postmaster has told everybody else of it; the worker takes it between two turns.
sub in_force
{
	my ($name, $value) = @_;
	$node->wait_for('the setting', sub { $node->safe_psql('postgres', "SHOW $name") eq $value });
	$client->sync for 1 .. 2;
	return;
}

# Nothing can be kept on disk: a large transaction is lost, small ones are not.
$node->safe_psql('postgres', q{CREATE TABLE others (id int PRIMARY KEY); GRANT SELECT ON others TO web; SELECT plank.track('others')});
$client->subscribe('others', table => 'others');
$node->set('plank.spill_size', 0);
in_force('plank.spill_size', '0');
my $mark = $node->log_mark;
$node->safe_psql('postgres', q{INSERT INTO items SELECT i, repeat('x', 1000) FROM generate_series(1, 8000) i});
my $message = $client->await(sub { $_[0]{type} =~ /^(transaction|reset)$/ });
is("$message->{type} $message->{id}", 'reset items', 'a transaction that can be kept nowhere is a reset of its table');
$node->wait_for_line(qr/WARNING:  plank: a large transaction could not be kept.*\n.*DETAIL: .*spill_size.*\n.*HINT: .*plank\.spill_size/, $mark);
$node->safe_psql('postgres', q{INSERT INTO others VALUES (1)});
is(ids($client->await('transaction')), '1', 'and of no other');
$node->set('plank.spill_size', undef);
in_force('plank.spill_size', '1GB');
$node->safe_psql('postgres', q{DELETE FROM items});
is(scalar @{ $client->transaction->{changes} }, 8000, 'with room it is delivered whole');

# The worker falls behind so far that its WAL is gone.
kill 'STOP', $pid;
$node->insert(50001);
$node->safe_psql('postgres', q{SELECT pg_logical_emit_message(false, 'filling', repeat('x', 12000000)); SELECT pg_switch_wal(); CHECKPOINT}) for 1 .. 8;
$node->insert(50002);
$mark = $node->log_mark;
kill 'CONT', $pid;
$client->await('reset');
pass('recycled WAL is a reset');
$node->wait_for_line(qr/WARNING:  plank: the write-ahead log could not be read on.*\n.*DETAIL: .*removed.*\n.*HINT: .*wal_keep_size/, $mark);
$node->insert(50003);
is(ids($client->await(sub { $_[0]{type} eq 'transaction' && ids($_[0]) ne '50002' })), '50003', 'and the stream goes on');

# Transactions that spoke in WAL that is gone by the time a worker begins to read: one that is open, one that is prepared.
sub recycle { $node->safe_psql('postgres', q{SELECT pg_logical_emit_message(false, 'filling', repeat('x', 12000000)); SELECT pg_switch_wal(); CHECKPOINT}) for 1 .. 8; return }
my $session = $node->background_psql('postgres');
$session->query_safe(q{BEGIN; INSERT INTO items SELECT i, repeat('x', 1000) FROM generate_series(60001, 60200) i});
$node->safe_psql('postgres', q{BEGIN; INSERT INTO items VALUES (60999, 'prepared'); PREPARE TRANSACTION 'p'});
recycle();
kill 'TERM', $pid;
$client->close_code;
$node->wait_for('its end', sub { !PlankCluster::process_lives($pid) });
$client = $node->watcher;
$pid = $node->worker_pid;
$session->query_safe('COMMIT');
like($client->await(sub { $_[0]{type} =~ /^(transaction|reset)$/ })->{reason}, qr/from its beginning/, 'an open transaction that cannot be read whole is a reset');
$session->quit;
$client->disconnect;
$node->restart;
$node->wait_until_ready;
recycle();
$node->end_worker;
$node->wait_until_ready;
$client = $node->watcher;
$pid = $node->worker_pid;
$node->insert(50006);
is(ids($client->transaction), '50006', 'others are not affected');
$node->safe_psql('postgres', q{COMMIT PREPARED 'p'});
like($client->await(sub { $_[0]{type} =~ /^(transaction|reset)$/ })->{reason}, qr/from its beginning/, 'so is a prepared one');

# A huge record of somebody else is read over, and its memory given back. No checkpoint may recycle it before it is read.
$node->set('max_wal_size', '2GB');
in_force('max_wal_size', '2GB');
my $before = PlankCluster::memory_of($pid);
$node->safe_psql('postgres', q{SELECT pg_logical_emit_message(false, 'huge', repeat('x', 300000000))});
$node->insert(50004);
is(ids($client->transaction), '50004', 'a huge record is read over');
$node->insert(50005);
is(ids($client->transaction), '50005', 'and what comes after it too');
my $after = PlankCluster::memory_of($pid);
cmp_ok($after - $before, '<', 100000, "memory is given back ($before kB, then $after kB)");

# A message under the secret that is none, in a transaction that has spoken before: all are reset, once, and again at its
# commit, for what it wrote cannot be told.
my $secret = $node->safe_psql('postgres', 'SELECT secret FROM plank.secret');
$mark = $node->log_mark;
$session = $node->background_psql('postgres');
$session->query_safe(qq{BEGIN; INSERT INTO items SELECT i, repeat('x', 1000) FROM generate_series(61001, 61200) i; SELECT pg_logical_emit_message(true, 'plank:$secret', 'anything')});
$node->insert(50008);
$client->await('reset');
pass('a message that cannot be understood is a reset');
$node->wait_for_line(qr/WARNING:  plank: a message in the write-ahead log could not be understood/, $mark);
$node->insert(50009);
is(ids($client->await(sub { $_[0]{type} eq 'transaction' && ids($_[0]) ne '50008' })), '50009', 'and the stream goes on');
$session->query_safe('COMMIT');
like($client->await(sub { $_[0]{type} =~ /^(transaction|reset)$/ })->{reason}, qr/from its beginning/, 'what else its transaction did is a reset');
$session->quit;
is($node->log_count(qr/could not be understood/, $mark), 1, 'which happens once');

# Another secret.
$node->safe_psql('postgres', 'DROP EXTENSION plank CASCADE');
$client->await('unsubscribed');
$node->safe_psql('postgres', q{CREATE EXTENSION plank; SELECT plank.track('items')});
$node->wait_until_ready;
$client->subscribe('again', table => 'items');
$node->insert(50007);
is(ids($client->await(sub { $_[0]{type} eq 'transaction' && $_[0]{changes}[0]{op} eq 'insert' })), '50007', 'an extension made anew is heard');
is($node->worker_pid, $pid, 'and the worker has lived through it');
$node->stop;
done_testing();
