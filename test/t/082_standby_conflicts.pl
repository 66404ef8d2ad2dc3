# What the primary does on a hot standby to row security that is being judged: replay wants what the worker holds, and the
# worker lets go without losing a client or a row.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Utils;
use Test::More;
use PlankCluster;

# The policies below wait for the test, so they have time.
my ($primary, $standby) = PlankCluster->create_pair(conf => "autovacuum = off\n", standby_conf => <<'CONF');
max_standby_streaming_delay = 0
plank.policy_timeout = 60s
plank.crash_limit = 2
CONF

# Row security that looks at another table and then stands still for as long as the test holds lock 1, holding what it read.
$primary->safe_psql('postgres', <<'SQL');
CREATE TABLE members (item int PRIMARY KEY, note text);
INSERT INTO members SELECT g, 'x' FROM generate_series(1, 1000) g;
GRANT SELECT ON members TO web;
CREATE FUNCTION waits() RETURNS boolean LANGUAGE plpgsql SET lock_timeout = 0 AS
	'BEGIN PERFORM pg_advisory_lock_shared(1); PERFORM pg_advisory_unlock_shared(1); RETURN true; END';
CREATE FUNCTION catches() RETURNS boolean LANGUAGE plpgsql AS
	'BEGIN RETURN waits(); EXCEPTION WHEN division_by_zero THEN RETURN false; END';
ALTER TABLE items ENABLE ROW LEVEL SECURITY;
CREATE POLICY members ON items USING (EXISTS (SELECT FROM members m WHERE m.item = items.id) AND waits());
CREATE TABLE plain (id int PRIMARY KEY);
GRANT SELECT ON plain TO web;
SELECT plank.track('plain');
SQL
$primary->wait_for_catchup($standby);

my $client = $standby->watcher;
$client->subscribe('plain', table => 'plain');
my $pid = $standby->worker_pid;
my $gate = $standby->background_psql('postgres');
my $row = 0;

sub conflicts
{
	return $standby->safe_psql('postgres', q{SELECT sum(confl_lock + confl_snapshot) FROM pg_stat_database_conflicts WHERE datname = 'postgres'});
}

# Inserts a row, and makes the primary do something while the standby judges it.
sub while_judging
{
	my (@sql) = @_;
	$gate->query('SELECT pg_advisory_lock(1)');
	$primary->insert(++$row);
	ok($standby->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted}), 'the policy runs');
	$primary->safe_psql('postgres', $_) for @sql;
	$primary->wait_for_catchup($standby);
	$gate->query('SELECT pg_advisory_unlock(1)');
	return;
}

for my $case (
	[ 'DDL on the table that the policy reads', 'ALTER TABLE members ADD COLUMN more int' ],
	[ 'rows that the policy could see are removed', 'DELETE FROM members WHERE item > 900', 'VACUUM members' ])
{
	my ($what, @sql) = @$case;
	my $before = conflicts();
	while_judging(@sql);
	is($client->transaction->{changes}[0]{new}{id}, $row, "$what: the row arrives");
	ok($standby->wait_for('a conflict', sub { conflicts() > $before }), "$what: there was a conflict");
	is($standby->worker_pid, $pid, "$what: by the same worker");
}

# The same again and again while changes come: none is lost, none comes twice, and nobody is reset.
$primary->safe_psql('postgres', 'ALTER POLICY members ON items USING (EXISTS (SELECT FROM members m WHERE m.item = items.id))');
$client->await('reset');
my $mark = $standby->log_mark;
my $from = $row + 1;
for my $round (1 .. 30)
{
	$primary->insert(++$row);
	$primary->safe_psql('postgres', $round % 3 ? q{UPDATE members SET note = note || 'x'; } : 'DO $$ BEGIN LOCK members; END $$');
	$primary->safe_psql('postgres', 'VACUUM members') if $round % 5 == 0;
}
$primary->safe_psql('postgres', 'INSERT INTO plain VALUES (1)');
my @ids;
while (my $transaction = $client->transaction)
{
	last if $transaction->{changes}[0]{table} eq 'public.plain';
	push @ids, $transaction->{changes}[0]{new}{id};
}
is("@ids", join(' ', $from .. $row), 'changes under many conflicts arrive once each');
is($standby->worker_pid, $pid, 'by the same worker');

# A function that catches errors runs in a subtransaction, where PostgreSQL answers a conflict by ending the process. It comes
# back, as often as it takes, and clients go on from where they were.
$primary->safe_psql('postgres', 'ALTER POLICY members ON items USING (EXISTS (SELECT FROM members m WHERE m.item = items.id) AND catches())');
$client->await('reset');
my $position;
for my $round (1 .. 3)
{
	$primary->safe_psql('postgres', 'INSERT INTO plain VALUES (' . ($round + 1) . ')');
	$position = $client->transaction->{position};
	while_judging("ALTER TABLE members ADD COLUMN more$round int");
	ok(defined $client->close_code, "round $round: the worker ends");
	$client = $standby->reconnect;
	$client->subscribe('plain', table => 'plain');
	is($client->subscribe('items', table => 'items', since => $position)->{resumed}, JSON::PP::true, 'comes back, and the client resumes');
	is($client->transaction->{changes}[0]{new}{id}, $row, 'with what it has missed');
}
is($standby->log_count(qr/stays down/, $mark), 0, 'it was no crash');
is($standby->log_count(qr/PANIC|terminated by signal/, $mark), 0, 'to nobody');

$gate->quit;
$standby->stop;
$primary->stop;
done_testing();
