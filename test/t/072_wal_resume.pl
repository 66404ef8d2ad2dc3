# A client that comes back with its position gets what it missed, through the worker's end, a restart of the server, and a
# kill -9 of everything with transactions open; what cannot be proven complete is a reset.
# This test crashes the server on purpose.
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
max_prepared_transactions = 10
wal_keep_size = 256MB
CONF

my $client = $node->watcher;
my $position;
my $row = 0;

sub write_row { $node->insert(++$row); return $row }
sub ids { return join ' ', map { $_->{op} eq 'delete' ? "-$_->{key}{id}" : $_->{new}{id} } @{ $_[0]{changes} } }
# The next transaction's rows; moves the position.
sub next_ids { my $transaction = $client->transaction; $position = $transaction->{position}; return ids($transaction) }
# The messages to a client that resumes, until the row that is written now has come: rows, or words.
sub resume
{
	my ($since) = @_;
	$client = $node->reconnect;
	my $answer = $client->subscribe('items', table => 'items', since => $since // $position);
	my @told = $answer->{resumed} ? () : 'not resumed';
	my $last = write_row();
	while (my $message = $client->next)
	{
		push @told, $message->{type} if $message->{type} =~ /^(reset|error|unsubscribed)$/;
		next if $message->{type} ne 'transaction';
		$position = $message->{position} if !$message->{catchup} || !$message->{more};
		push @told, map { $_->{new}{id} } @{ $message->{changes} };
		last if $told[-1] eq $last;
	}
	pop @told;
	return join ' ', @told;
}

write_row();
is(next_ids(), '1', 'a position');

# From memory.
$client->disconnect;
write_row() for 1 .. 3;
is(resume(), '2 3 4', 'from memory: what was missed, once');

# The worker ends.
$node->end_worker;
$client->close_code;
write_row() for 1 .. 3;
is(resume(), '6 7 8', 'over a restart of the worker');

# From WAL: more than memory keeps.
$client->disconnect;
$node->set('plank.history_size', '1MB');
my $from = $row + 1;
my $since = $position;
$node->safe_psql('postgres', qq{DO \$\$ BEGIN FOR i IN $row .. $row + 3999 LOOP INSERT INTO items VALUES (i + 1, repeat('x', 1000)); COMMIT; END LOOP; END \$\$});
$row += 4000;
write_row() for 1 .. 10;
$node->wait_for('all to be read and the log to be trimmed', sub {
	$node->safe_psql('postgres', 'SELECT transactions > 4000 AND log_bytes + spill_bytes < 2000000 FROM plank.stat') eq 't'
});
is(resume($since), join(' ', $from .. $row - 1), 'from WAL: all of it, in order');
$node->set('plank.history_size', undef);
$node->wait_for('the count', sub { $node->safe_psql('postgres', 'SELECT resumed_by_replay FROM plank.stat') == 1 });
is($node->safe_psql('postgres', 'SELECT wal_replayed > 4000000 FROM plank.stat'), 't', 'which plank.stat counts');

# The server restarts, with a transaction prepared before.
$node->safe_psql('postgres', qq{BEGIN; INSERT INTO items VALUES (-1, 'prepared'); PREPARE TRANSACTION 'p'});
$client->disconnect;
write_row() for 1 .. 2;
my @missed = ($row - 1, $row);
$node->restart;
$node->wait_until_ready;
is(resume(), "@missed", 'over a restart of the server');
$node->safe_psql('postgres', q{COMMIT PREPARED 'p'});
my $message = $client->await(sub { $_[0]{type} =~ /^(transaction|reset)$/ });
ok($message->{type} eq 'reset' || ids($message) eq '-1', "a transaction prepared before arrives whole or is a reset ($message->{type})");
write_row();
$client->await(sub { $_[0]{type} eq 'transaction' && ids($_[0]) eq $row });

# Everything is killed, with transactions open that have spoken.
sub crash_with_open
{
	my ($what) = @_;
	my @sessions;
	for my $i (1 .. 3)
	{
		my $session = $node->background_psql('postgres', on_error_stop => 0);
		$session->query_safe(sprintf q{BEGIN; INSERT INTO items SELECT i, repeat('x', 1000) FROM generate_series(%d, %d) i}, -1000 * $i, -1000 * $i + 300);
		push @sessions, $session;
	}
	write_row();
	$client->await(sub { $_[0]{type} eq 'transaction' && ($position = $_[0]{position}) && ids($_[0]) eq $row });
	$client->disconnect;
	write_row() for 1 .. 3;
	my @ids = ($row - 2 .. $row);
	$node->stop('immediate');
	$_->{run}->kill_kill for @sessions;
	$node->start;
	$node->wait_until_ready;
	is(resume(), "@ids", "$what: nothing is lost, and nothing of what was open is sent");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM items WHERE id < -1'), '0', 'as nothing of it is there');
	return;
}
crash_with_open("round $_") for 1 .. 2;

# A backend is killed, which restarts all.
{
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query('SELECT pg_backend_pid()');
	$client->disconnect;
	write_row();
	my $mark = $node->log_mark;
	kill 'KILL', $pid;
	$node->wait_for_line(qr/all server processes terminated; reinitializing/, $mark);
	$node->wait_until_ready;
	eval { $session->quit };
	is(resume(), $row - 1, 'over a crash of the server');
}

# What is no position of this server.
sub answer
{
	my ($text) = @_;
	my $other = $node->reconnect;
	$other->send({ type => 'subscribe', id => 'a', table => 'items', since => $text });
	my $answer = $other->await(sub { ($_[0]{id} // '') eq 'a' });
	return $answer->{code} if $answer->{type} eq 'error';
	return $answer->{resumed} ? 'resumed' : $other->await('reset')->{type};
}
is(answer('nonsense'), '22023', 'garbage is an error');
is(answer(substr $position, 0, -1), '22023', 'a position that was cut is an error');
is(answer('w' . 'A' x 60), '22023', 'so is one that is none');
is(answer($position), 'resumed', 'the present one is not');

my $stranger = PlankCluster->create('stranger', conf => "plank.transport = wal\nwal_level = replica\nwal_keep_size = 64MB\n");
my $foreign = $stranger->watcher;
$stranger->insert(1);
is(answer($foreign->transaction->{position}), 'reset', 'another cluster\'s position is a reset');
$stranger->stop;

# WAL that is needed has been removed.
$client->disconnect;
$node->set('wal_keep_size', 0);
$node->safe_psql('postgres', q{ALTER SYSTEM SET max_wal_size = '32MB'});
$node->safe_psql('postgres', q{SELECT pg_logical_emit_message(false, 'filling', repeat('x', 10000000)); SELECT pg_switch_wal(); CHECKPOINT}) for 1 .. 6;
$node->restart;
$node->wait_until_ready;
$node->safe_psql('postgres', q{SELECT pg_logical_emit_message(false, 'filling', repeat('x', 10000000)); SELECT pg_switch_wal(); CHECKPOINT}) for 1 .. 6;
is(answer($position), 'reset', 'a position whose WAL is gone is a reset');
ok($node->safe_psql('postgres', 'SELECT oldest_position > \'0/1000000\' FROM plank.stat') eq 't', 'plank.stat knows where what is left begins');

$node->stop;
done_testing();
