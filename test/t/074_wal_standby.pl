# A hot standby serves the same stream with the same positions, and its promotion keeps them; a synchronous standby that hangs
# keeps what is not visible from clients.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Utils;
use Test::More;
use PlankCluster;

my ($primary, $standby) = PlankCluster->create_pair(conf => "max_prepared_transactions = 10\n");

sub ids { return join ' ', map { $_->{new}{id} } @{ $_[0]{changes} } }

my $there = $primary->watcher;
my $here = $standby->watcher;
my $row = 0;
for my $round (1 .. 20)
{
	$primary->insert(++$row);
	my ($a, $b) = ($there->transaction, $here->transaction);
	$a->{position} eq $b->{position} && $a->{xid} eq $b->{xid} && ids($b) eq $row && $a->{committed_at} eq $b->{committed_at}
	  or fail("round $round: the standby tells something else");
	# Positions of one are good on the other, also before it has come so far.
	if ($round == 10)
	{
		my $moved = $standby->reconnect;
		is($moved->subscribe('items', table => 'items', since => $a->{position})->{resumed}, JSON::PP::true, 'the primary\'s position is good on the standby');
		$moved = $primary->reconnect;
		is($moved->subscribe('items', table => 'items', since => $b->{position})->{resumed}, JSON::PP::true, 'and the standby\'s on the primary');
	}
}
pass('a standby\'s clients hear the same');
is($standby->safe_psql('postgres', 'SELECT transport, state FROM plank.stat'), 'wal|ready', 'plank.stat works on a standby');

# Replay pauses: a position of the primary is from the standby's future, and is waited for.
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$primary->insert(++$row);
my $position = $there->transaction->{position};
$here->sync;
is(scalar(grep { $_->{type} eq 'transaction' } @{ $here->{messages} }), 0, 'what is not replayed is not told');
my $ahead = $standby->reconnect;
$ahead->send({ type => 'subscribe', id => 'items', table => 'items', since => $position });
$ahead->await('welcome');
ok(!defined $ahead->next(0.3), 'a position ahead of the standby is not answered yet');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
is($ahead->await('subscribed')->{resumed}, JSON::PP::true, 'but once it has come so far');
is(ids($here->transaction), $row, 'and the rest arrives');
$primary->insert(++$row);
is(ids($ahead->transaction), $row, 'what came before the position is not sent again');
$here->transaction;
$position = $there->transaction->{position};

# TRUNCATE and DDL conflict with nothing that the worker holds.
$primary->safe_psql('postgres', 'ALTER TABLE items ADD COLUMN extra int');
$primary->safe_psql('postgres', qq{INSERT INTO items VALUES (@{[++$row]}, 'x', 5)});
my $transaction = $here->await('transaction');
is($transaction->{changes}[0]{new}{extra}, 5, 'DDL arrives on the standby');
$position = $there->await('transaction')->{position};

# C18: a synchronous standby hangs. What is flushed and not visible is not told.
$primary->safe_psql('postgres', q{ALTER SYSTEM SET synchronous_standby_names = 'nobody'});
$primary->reload;
$primary->poll_query_until('postgres', q{SELECT current_setting('synchronous_standby_names') = 'nobody'});
# It is the checkpointer who tells everybody to wait. It has been signalled by now, and looks before it does what is asked;
# the first time it may have looked just before.
$primary->safe_psql('postgres', 'CHECKPOINT') for 1 .. 2;
my $waiting = $primary->background_psql('postgres', on_error_stop => 0);
$waiting->query_until(qr/sent/, qq{\\echo sent\nINSERT INTO items VALUES (@{[++$row]}, 'hangs');\n});
$primary->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'});
$primary->safe_psql('postgres', qq{SET synchronous_commit = local; INSERT INTO items VALUES (@{[++$row]}, 'local')});
$primary->wait_for('the worker to hold it', sub { $primary->safe_psql('postgres', 'SELECT lag_bytes > 0 AND lag > interval \'0\' FROM plank.stat') eq 't' });
$there->sync;
is(scalar(grep { $_->{type} eq 'transaction' } @{ $there->{messages} }), 0, 'a commit that no snapshot shows is not told, nor what comes after it');
# Neither is it after a restart of the worker, which serves clients meanwhile.
$primary->end_worker;
$there->close_code;
my $again = $primary->reconnect;
is($again->subscribe('items', table => 'items', since => $position)->{resumed}, JSON::PP::true, 'clients are served while a commit hangs');
$again->sync;
is(scalar(grep { $_->{type} eq 'transaction' } @{ $again->{messages} }), 0, 'a restarted worker does not tell it either');
# The standby shows it, so who was there may come with its position.
my $early = $here->transaction;
is(ids($early), $row - 1, 'a standby has replayed it, and tells it');
my $moved = $primary->reconnect;
$moved->send({ type => 'subscribe', id => 'items', table => 'items', since => $early->{position} });
$moved->await('welcome');
$again->sync for 1 .. 2;    # the request has been looked at
$primary->safe_psql('postgres', 'ALTER SYSTEM RESET synchronous_standby_names');
$primary->reload;
is(ids($again->transaction), $row - 1, 'it is told once it is visible');
is(ids($again->transaction), $row, 'in the order of commits');
is($moved->await('subscribed')->{resumed}, JSON::PP::true, 'who had it from the standby resumes');
is(ids($moved->transaction), $row, 'and does not hear of it twice');
$waiting->quit;
$position = $again->{messages}[-1]{position} if @{ $again->{messages} };

# Promotion, with transactions open that the standby has heard of.
$here->await(sub { $_[0]{type} eq 'transaction' && ids($_[0]) eq $row });
my $open = $primary->background_psql('postgres', on_error_stop => 0);
$open->query_safe(q{BEGIN; INSERT INTO items SELECT i, repeat('x', 1000) FROM generate_series(-300, -1) i});
$primary->safe_psql('postgres', qq{BEGIN; INSERT INTO items VALUES (@{[++$row]}, 'prepared'); PREPARE TRANSACTION 'p'});
my $prepared = $row;
$primary->insert(++$row);
$transaction = $here->transaction;
is(ids($transaction), $row, 'before the promotion');
$position = $transaction->{position};
$primary->stop('immediate');
$open->{run}->kill_kill;
$standby->promote;
$standby->insert(++$row);
is(ids($here->transaction), $row, 'the connection and the stream go on after the promotion');
$standby->safe_psql('postgres', q{COMMIT PREPARED 'p'});
is(ids($here->transaction), $prepared, 'a transaction prepared before arrives after');
my $resumed = $standby->reconnect;
is($resumed->subscribe('items', table => 'items', since => $position)->{resumed}, JSON::PP::true, 'positions stay valid');
is(ids($resumed->transaction), $row, 'and what came after them arrives');
is(ids($resumed->transaction), $prepared, 'to the end');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM items WHERE id < 0'), '0', 'what was open has died');
$standby->safe_psql('postgres', q{SELECT plank.expose('jobs')});
$standby->wait_for('plain NOTIFY', sub { my $c = $standby->reconnect; eval { $c->subscribe('jobs', channel => 'jobs') } or return 0; $standby->safe_psql('postgres', q{NOTIFY jobs, 'hello'}); return eval { $c->transaction(2) } });
pass('after the promotion plain NOTIFY is heard');

# The former primary goes on by itself: what it commits is of another history.
$primary->start;
$primary->wait_until_ready;
my $astray = $primary->watcher;
$primary->insert(9000);
my $beyond = $astray->await('transaction')->{position};
$primary->insert(9001);
$standby->insert($_) for 8000 .. 8010;
my $lost = $standby->reconnect;
is($lost->subscribe('items', table => 'items', since => $beyond)->{resumed}, JSON::PP::false, 'a position beyond the fork is not resumed');
ok($lost->await('reset'), 'but reset');
is($standby->safe_psql('postgres', q{SELECT resets_lost FROM plank.stat}), '0', 'nobody else was reset');

$primary->stop;
$standby->stop;
done_testing();
