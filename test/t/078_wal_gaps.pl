# Positions of plank.transport = 'wal' outlive restarts, so a run of the server that does not record changes says so in WAL.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Utils;
use Test::More;
use PlankCluster;

my $node = PlankCluster->create('main', bare => 1, conf => "wal_level = replica\nplank.transport = 'wal'\nwal_keep_size = '256MB'\nmax_prepared_transactions = 2");
my $mark = 0;
my $since;

sub restart_with
{
	my (%settings) = @_;
	for my $name (keys %settings)
	{
		$node->adjust_conf('postgresql.conf', $name, undef);
		$node->append_conf('postgresql.conf', "$name = '$settings{$name}'");
	}
	$mark = -e $node->logfile ? $node->log_mark : 0;
	$node->restart;
	return;
}
sub run { my ($sql, $database) = @_; return $node->safe_psql($database // 'postgres', $sql) }
sub begin { $since = run('SELECT pg_current_wal_insert_lsn()'); return }
sub written { return run("SELECT transaction || ' ' || change FROM plank_test.written('$since')") }

$node->start;
unlike($node->log_since(0), qr/wal_keep_size/, 'nobody is warned who keeps WAL');
run('CREATE EXTENSION plank; CREATE EXTENSION plank_test; CREATE TABLE items (id int PRIMARY KEY, name text);
	CREATE TABLE others (id int PRIMARY KEY)');
run(q{SELECT plank.track('items'), plank.track('others')});
begin();
$node->insert(1);
is(written(), '1 insert public.items {"key":{"id":1},"new":{"id":1,"name":"x"}}', 'a run that records changes');

restart_with('plank.transport' => 'notify');
begin();
run(q{BEGIN; INSERT INTO items VALUES (2); ROLLBACK});
run('CREATE TABLE plain (id int)');
is(written(), '', 'nothing committed, nothing lost');
run(q{INSERT INTO items VALUES (3)});
run(q{INSERT INTO items VALUES (4); INSERT INTO others VALUES (4)});
run(q{SELECT plank.send('jobs', '1')});
is(written(), '1 lost all', 'under notify the first transaction tells WAL that changes are missing, once');
my ($status, $output, $error) = $node->psql('postgres', q{BEGIN; INSERT INTO items VALUES (5); PREPARE TRANSACTION 'a'});
like($error, qr/cannot PREPARE.*HINT:  Set plank\.transport to "wal"/s, 'PREPARE is refused under notify, with a hint');
# Also where no worker has ever been up.
restart_with('max_worker_processes' => '0');
run(q{SELECT plank.send('jobs', '1')});
run(q{INSERT INTO others VALUES (5)});
is(written(), "1 lost all\n2 lost all", 'and again after a restart');

restart_with('shared_preload_libraries' => '', 'max_worker_processes' => '8');
begin();
run(q{INSERT INTO items VALUES (6)});
run(q{INSERT INTO items VALUES (7)});
run(q{BEGIN; INSERT INTO others VALUES (8); INSERT INTO items VALUES (8), (9); COMMIT});
run(q{BEGIN; INSERT INTO others VALUES (9); PREPARE TRANSACTION 'b'});
run(q{COMMIT PREPARED 'b'});
is(written(), "1 lost items\n2 lost items\n3 lost others items\n4 lost others", 'without a preload each transaction names its tables');

# The library is loaded by the first call of one of its functions.
run(q{SELECT plank.untrack('others'); INSERT INTO others VALUES (10); SELECT plank.track('others')});
is((split /\n/, written())[4], '5 lost others', 'plank.track is told as well');

# From here on WAL is read with what another library does to a savepoint just before it is released: its failure comes when
# an outer level's changes may have left under the savepoint's own xid.
restart_with('shared_preload_libraries' => 'plank_test, plank', 'plank.transport' => 'wal', 'wal_keep_size' => '0');
like($node->log_since($mark), qr/WARNING:  plank: with wal_keep_size = 0.*\n.*DETAIL.*\n.*HINT: .*wal_keep_size/, 'wal_keep_size = 0 is warned of');
is($node->log_count(qr/with wal_keep_size = 0/, $mark), 1, 'once');
begin();
my $block = q{
	DO $$
	BEGIN
		INSERT INTO items SELECT n, repeat('x', 1000) FROM generate_series(1000, 1040) n;
		BEGIN
			INSERT INTO items SELECT n, repeat('x', 1000) FROM generate_series(1100, 11%s) n;
			PERFORM plank_test.fail_release();
		EXCEPTION WHEN raise_exception THEN NULL;
		END;
		INSERT INTO items VALUES (1200, 'after');
	END $$};
run(sprintf $block, '30');
my @told = split /\n/, written();
is($told[0], '1 insert public.items {"key":{"id":1200},"new":{"id":1200,"name":"after"}}', 'what left with the savepoint is gone from WAL');
is($told[-1], '1 lost all', 'and that is said');
is(run('SELECT count(*) FROM items WHERE id BETWEEN 1000 AND 1199'), 41, 'in the table it is there');
run('DELETE FROM items WHERE id >= 1000');
begin();
run(sprintf $block, '05');
@told = split /\n/, written();
is(scalar @told, 42, 'as long as nothing has left with the savepoint, nothing is missing');
is(scalar(grep { /lost/ } @told), 0, 'and nothing is lost');
$node->stop;
done_testing();
