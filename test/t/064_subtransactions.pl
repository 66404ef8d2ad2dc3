# Transactions with more subtransactions than a session lists for others (64), open while snapshots are taken, while a worker
# starts and while others commit: each arrives whole and once, or is a reset, and rows and stream fit together.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use PlankCluster;

my $node;
# What a client holds, as section 6 of protocol.md has it; a change that does not fit is a failure.
sub follower
{
	my ($name) = @_;
	my $self = { name => $name, rows => {}, transactions => [], resets => 0 };
	$self->{client} = $node->reconnect;
	$self->{client}->send({ type => 'subscribe', id => 'items', table => 'items', snapshot => JSON::PP::true });
	$self->{client}->await('subscribed');
	return $self;
}
sub take
{
	my ($self, $message) = @_;
	my $rows = $self->{rows};
	my $wrong = sub { fail("$self->{name}: $_[0]") };
	if ($message->{type} eq 'reset') { %$rows = (); $self->{resets}++ }
	if ($message->{type} eq 'rows')
	{
		for my $row (@{ $message->{rows} })
		{
			$wrong->("row $row->{id} twice") if exists $rows->{ $row->{id} };
			$rows->{ $row->{id} } = $row->{name};
		}
	}
	return if $message->{type} ne 'transaction';
	$self->{position} = $message->{position} if $message->{position};
	push @{ $self->{transactions} }, { xid => $message->{xid}, count => 0 } if !$self->{more};
	$self->{more} = $message->{more};
	for my $change (@{ $message->{changes} })
	{
		my ($op, $id) = ($change->{op}, $change->{key}{id});
		$self->{transactions}[-1]{count}++;
		$wrong->("$op of $id, which is " . (exists $rows->{$id} ? 'held' : 'not held')) if ($op eq 'insert') == exists $rows->{$id};
		if ($op eq 'delete') { delete $rows->{$id} }
		else { $rows->{$id} = $change->{new}{name} }
	}
	return;
}
my $marks = 0;
sub mark { my $id = -++$marks; $node->insert($id, 'mark'); return $id }
# Reads until the row has come; the counts of the transactions before it.
sub read_to
{
	my ($self, $id) = @_;
	my $end = time + $PlankClient::timeout;
	while (!exists $self->{rows}{$id} || $self->{more})
	{
		my $message = $self->{client}->next($end - time) // die "$self->{name}: row $id did not come\n";
		take($self, $message);
	}
	my @counts = map { $_->{count} } @{ $self->{transactions} };
	@{ $self->{transactions} } = ();
	return join ' ', @counts;
}
sub table_now { return $node->safe_psql('postgres', q{SELECT coalesce(string_agg(id || '=' || name, ' ' ORDER BY id), '') FROM items}) }
sub held { my ($self) = @_; return join ' ', map { "$_=$self->{rows}{$_}" } sort { $a <=> $b } keys %{ $self->{rows} } }
sub is_whole { my ($self, $what) = @_; is(held($self), table_now(), "$self->{name} holds the table: $what"); return }

# 150 blocks, of which each third is rolled back: 100 rows of their own, one updated by all of them.
sub blocks
{
	my ($from, $width) = @_;
	return qq{
		DO \$\$ BEGIN FOR i IN $from .. $from + 149 LOOP
			BEGIN
				INSERT INTO items VALUES (i, repeat('x', $width));
				UPDATE items SET name = name || '.' WHERE id = $from - 1;
				IF i % 3 = 0 THEN RAISE EXCEPTION 'back'; END IF;
			EXCEPTION WHEN raise_exception THEN NULL;
			END;
		END LOOP; END \$\$;
	};
}
# 80 savepoints within each other, of which the inner half is taken back: 41 rows.
sub nest
{
	my ($from) = @_;
	return join(' ', map { "SAVEPOINT s$_; INSERT INTO items VALUES ($from + $_, 'nested');" } 1 .. 80)
	  . " ROLLBACK TO s41; INSERT INTO items VALUES ($from + 100, 'behind');";
}

for my $transport ('notify', 'wal')
{
	$marks = 0;
	my $wal = $transport eq 'wal';
	$node = PlankCluster->create($transport, conf => <<"CONF");
plank.transport = $transport
wal_level = replica
max_prepared_transactions = 4
wal_keep_size = 256MB
# A client is read when it is its turn.
plank.ping_interval = 10min
plank.send_timeout = 10min
CONF
	$node->safe_psql('postgres', q{INSERT INTO items SELECT i, 'old' FROM generate_series(1, 50) i; INSERT INTO items VALUES (999, ''), (1999, ''), (2999, ''), (3999, '')});
	my @early = map { follower("$transport, an early client $_") } 1 .. 2;
	read_to($_, mark()) for @early;

	# Open: one of small rows, one whose rows leave the session before its end, one within savepoints, one that will be taken
	# back, and prepared ones.
	my %session = map { $_ => $node->background_psql('postgres') } qw(small large nested gone);
	my %does = (small => blocks(1000, 5), large => blocks(2000, 3000), nested => nest(5000), gone => blocks(3000, 3000));
	$session{$_}->query_safe("BEGIN; $does{$_}") for sort keys %session;
	if ($wal)
	{
		$node->safe_psql('postgres', 'BEGIN; ' . blocks(4000, 1000) . q{PREPARE TRANSACTION 'kept'});
		$node->safe_psql('postgres', 'BEGIN; ' . nest(6000) . q{PREPARE TRANSACTION 'lost'});
	}
	my $before = follower("$transport, a snapshot taken meanwhile");
	my $id = mark();
	read_to($_, $id) for @early, $before;
	is_whole($_, 'nothing of what is open') for @early, $before;

	# Its end comes between a snapshot and what is live.
	$session{small}->query_safe('COMMIT');
	my $between = follower("$transport, a snapshot taken after the first");
	$id = mark();
	is(read_to($_, $id), '200 1', "$_->{name} gets the first, whole") for @early, $before;
	read_to($between, $id);
	is_whole($_, 'with the first') for @early, $before, $between;

	# A worker that starts while the others are open; who was there comes back.
	$node->end_worker;
	$node->wait_until_ready;
	for my $each (@early, $before, $between)
	{
		$each->{client} = $node->reconnect;
		$each->{client}->send({ type => 'subscribe', id => 'items', table => 'items', snapshot => JSON::PP::true, since => $each->{position} });
		my $resumed = $each->{client}->await('subscribed')->{resumed};
		$each->{resets} = 0;
		ok($resumed, "$each->{name} resumes") if $wal;
	}
	my $late = follower("$transport, a client of the next worker");
	$id = mark();
	read_to($_, $id) for @early, $before, $between, $late;
	is_whole($_, 'behind a worker that went') for @early, $before, $between, $late;
	is(join(' ', map { $_->{resets} } @early, $before, $between), $wal ? '0 0 0 0' : '1 1 1 1', 'with a reset where the transport has no memory');
	my @all = (@early, $before, $between, $late);
	$_->{resets} = 0 for @all;

	$session{large}->query_safe('COMMIT');
	$session{gone}->query_safe('ROLLBACK');
	$session{nested}->query_safe('COMMIT');
	if ($wal)
	{
		$node->safe_psql('postgres', q{COMMIT PREPARED 'kept'});
		$node->safe_psql('postgres', q{ROLLBACK PREPARED 'lost'});
	}
	$id = mark();
	my $last = follower("$transport, a snapshot behind all");
	for my $each (@all)
	{
		is(read_to($each, $id), $wal ? '200 41 200 1' : '200 41 1', "$each->{name} gets what was open, whole and once");
		is($each->{resets}, 0, 'without a reset');
	}
	read_to($last, $id);
	is_whole($_, 'all of it') for @all, $last;
	$_->quit for values %session;

	# Snapshots amid such transactions, each at a place of its own in their lives.
	my @writers = map { $node->background_psql('postgres') } 1 .. 3;
	for my $i (0 .. $#writers)
	{
		$writers[$i]->query_until(qr/begun/, sprintf <<'SQL', 10000 * ($i + 1));
\echo begun
DO $$ DECLARE low int := %d; round int := 0; tries int := 0; BEGIN LOOP
	round := round + 1;
	FOR i IN low .. low + 74 LOOP
		BEGIN
			IF round %% 2 = 1 THEN INSERT INTO items VALUES (i, round); ELSE DELETE FROM items WHERE id = i; END IF;
			IF i %% 15 = 0 THEN RAISE EXCEPTION 'back'; END IF;
		EXCEPTION WHEN raise_exception THEN NULL;
		END;
	END LOOP;
	UPDATE items SET name = round WHERE id = low / 10000;
	PERFORM pg_sleep(0.03);
	tries := tries + 1;
	IF tries %% 4 = 0 THEN ROLLBACK; round := round - 1; ELSE COMMIT; END IF;
	EXIT WHEN tries = 30;
END LOOP; END $$;
SQL
	}
	my @amid = map { my $each = follower("$transport, snapshot $_ amid writers"); read_to($each, mark()); $each } 1 .. 8;
	$_->query_safe('SELECT 1') for @writers;
	$_->quit for @writers;
	$id = mark();
	read_to($_, $id) for @amid, @all;
	is_whole($_, 'after the writers') for @amid, @all;
	is($node->safe_psql('postgres', 'SELECT resets_lost FROM plank.stat'), '0', 'nothing was lost');
	$_->{client}->disconnect for @amid, @all, $last;
	$node->stop;
}
done_testing();
