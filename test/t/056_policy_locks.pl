# DDL on a table that row security reads: for as long as an ordinary ALTER TABLE takes, changes wait for it. What is locked
# for longer ends those whose row security it is, and nobody else; nobody ever waits for the worker.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use PlankCluster;

my $node = PlankCluster->create('locks');
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE members (item int PRIMARY KEY);
INSERT INTO members SELECT generate_series(1, 1000);
CREATE TABLE seen (item int PRIMARY KEY);
INSERT INTO seen SELECT generate_series(1, 1000);
GRANT SELECT ON members, seen TO web;
CREATE TABLE other (id int PRIMARY KEY);
CREATE TABLE plain (id int PRIMARY KEY);
CREATE TABLE called (id int PRIMARY KEY);
GRANT SELECT ON other, plain, called TO web;
ALTER TABLE items ENABLE ROW LEVEL SECURITY;
CREATE POLICY members ON items USING (EXISTS (SELECT FROM members m WHERE m.item = items.id));
ALTER TABLE other ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON other USING (EXISTS (SELECT FROM seen s WHERE s.item = other.id));
CREATE FUNCTION is_member(int) RETURNS boolean LANGUAGE plpgsql AS
	'BEGIN RETURN EXISTS (SELECT FROM members m WHERE m.item = $1); END';
ALTER TABLE called ENABLE ROW LEVEL SECURITY;
CREATE POLICY calls ON called USING (is_member(id));
SELECT plank.track('other'), plank.track('plain'), plank.track('called');
SQL
my $client = $node->watcher;
$client->subscribe($_, table => $_) for qw(other plain called);
my $other = $node->watcher;
my $pid = $node->worker_pid;
my $row = 0;

my $locker = $node->background_psql('postgres');
for my $table (qw(items called))
{
	# A machine that stands still for seconds may take the whole of the time.
	for my $attempt (1 .. 20)
	{
		my $started = time;
		$locker->query_safe('BEGIN; LOCK members');
		$node->safe_psql('postgres', "INSERT INTO $table (id) VALUES (" . ++$row . ')');
		$other->sync for 1 .. 10;
		my $early = $client->next(0.1);
		my $quick = time - $started < 2;
		$locker->query_safe("ALTER TABLE members ADD COLUMN more$row int; COMMIT");
		my $message = $client->await(sub { $_[0]{type} =~ /^(transaction|unsubscribed)$/ });
		if ($message->{type} eq 'unsubscribed' && !$quick)
		{
			$client->subscribe($table, table => $table);
			next;
		}
		ok(!$early || $early->{type} eq 'position', "$table: what cannot be judged is not told");
		is($message->{type} eq 'transaction' && $message->{changes}[0]{new}{id}, $row, "$table: it is told when the lock is gone");
		last;
	}
}

# For longer.
my $mark = $node->log_mark;
$locker->query_safe('BEGIN; LOCK members');
$node->safe_psql('postgres', 'INSERT INTO items VALUES (' . ++$row . ')');
$node->safe_psql('postgres', 'INSERT INTO other VALUES (1)');
$node->safe_psql('postgres', 'INSERT INTO plain VALUES (1)');
my ($ended, @tables);
while (!$ended || @tables < 2)
{
	my $message = $client->await(sub { $_[0]{type} =~ /^(transaction|unsubscribed)$/ });
	if ($message->{type} eq 'unsubscribed') { $ended = $message }
	else { push @tables, $message->{changes}[0]{table} }
}
is($ended->{id}, 'items', 'what is locked for too long ends');
is($ended->{code}, '55P03', 'with a code of its own');
is($ended->{message}, 'a table that the row security policy reads is locked', 'and a message that names no table');
is("@tables", 'public.other public.plain', 'other row security goes on, and so does a table without');
is($node->worker_pid, $pid, 'by the same worker');
is($node->log_count(qr/row security reads is locked for too long/, $mark), 1, 'the log says it once');
is($node->log_count(qr/row security of table/, $mark), 0, 'and blames no policy');

# Whoever subscribes again is answered when it is free; others at once.
$client->send({ type => 'subscribe', id => 'items', table => 'items' });
$other->subscribe('plain', table => 'plain');
my $early = $client->next(0.3);
ok(!$early || $early->{type} eq 'position', 'a new subscription waits for the lock');
$locker->query_safe('COMMIT');
is($client->await('subscribed')->{id}, 'items', 'and no longer');
$node->safe_psql('postgres', 'INSERT INTO items VALUES (' . ++$row . ')');
is($client->transaction->{changes}[0]{new}{id}, $row, 'it goes on');

# Nobody waits for the worker, and it waits for nobody: what it holds is gone between two turns.
$node->safe_psql('postgres', join '', map { "BEGIN; LOCK members; COMMIT; INSERT INTO items VALUES (@{[++$row]});\n" } 1 .. 50);
$client->await(sub { $_[0]{type} eq 'transaction' && $_[0]{changes}[0]{new}{id} == $row });
is($node->log_count(qr/deadlock/), 0, 'no deadlock');
is($node->worker_pid, $pid, 'the same worker to the end');
$locker->quit;
$node->stop;
done_testing();
