# What `plank.transport = wal` alone has, while memory is watched: chunks written under savepoints and prepared
# transactions, the reader, spilling, passes over the past, and workers that begin where others ended. Prints the number of
# checks.
use strict;
use warnings;
use lib "$ENV{PLANK_TOP}/test/memcheck";
use JSON::PP;
use Scenario;

script(<<'SQL');
CREATE ROLE web;
CREATE ROLE gate;
CREATE EXTENSION plank;
CREATE TABLE items (id int PRIMARY KEY, name text);
CREATE TABLE others (id int PRIMARY KEY, kind text);
ALTER TABLE items ALTER name SET STORAGE EXTERNAL;
GRANT SELECT ON items, others TO web;
ALTER TABLE others ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON others FOR SELECT TO web USING (kind <> 'hidden');
CREATE FUNCTION fill(low int, high int) RETURNS void LANGUAGE sql AS 'INSERT INTO items SELECT i, repeat(chr(97 + i % 26), 8000) FROM generate_series(low, high) i';
SELECT plank.track('items', notify => 'items_changed'), plank.track('others');
SELECT plank.expose('news');
ALTER SYSTEM SET plank.history_size = '1MB';
SELECT pg_reload_conf();
SELECT plank.wait_until_ready('300s');
SQL
my $yes = JSON::PP::true;
my $client = connect_client();
$client->subscribe($_, table => $_) for qw(items others);
$client->subscribe('news', channel => 'news');
my $viewer = connect_client();
$viewer->subscribe('some', table => 'items', where => 'id % 2 = 0 and id < 100000', snapshot => $yes);
check(rows_of($viewer, 'some') == 0, 'rows of an empty table');
my $writer = session();
sub now { my ($what, $statements, $wanted) = @_; return expect($client, $what, $statements, $wanted, $writer) }
# The changes of that many transactions, counted.
sub sizes { my ($from, $count) = @_; return join ' ', map { scalar @{ outcome($from)->{changes} } } 1 .. $count }

# Whatever savepoints do to what has left as chunks.
my $first = now('savepoints', <<'SQL', qr/^insert:1 (insert:1\d\d ){12}(insert:5\d\d ){12}insert:4 insert:7$/);
BEGIN;
INSERT INTO items VALUES (1);
SAVEPOINT a; SELECT fill(101, 112);
SAVEPOINT b; SELECT fill(301, 312); ROLLBACK TO b;
SELECT fill(501, 512); RELEASE a;
SAVEPOINT c; INSERT INTO items VALUES (3); ROLLBACK TO c; INSERT INTO items VALUES (4); RELEASE c;
INSERT INTO items VALUES (7);
COMMIT
SQL
now('blocks with exceptions, each a subtransaction', <<'SQL', qr/^(delete:\d+ ){26}(insert:\d+ ?){35}$/);
DO $$
BEGIN
	DELETE FROM items WHERE id <> 4;
	FOR i IN 1000..1069 LOOP
		BEGIN
			PERFORM fill(i, i);
			IF i % 2 = 1 THEN RAISE EXCEPTION 'back'; END IF;
		EXCEPTION WHEN raise_exception THEN NULL;
		END;
	END LOOP;
END $$
SQL
print $writer <<'SQL';
BEGIN; SELECT fill(2001, 2020); ROLLBACK;
BEGIN; INSERT INTO items VALUES (11); SAVEPOINT a; INSERT INTO items VALUES (12); RELEASE a; PREPARE TRANSACTION 'p';
BEGIN; INSERT INTO items VALUES (13); PREPARE TRANSACTION 'q';
ROLLBACK PREPARED 'q';
SQL
now('a prepared transaction', "COMMIT PREPARED 'p'", qr/^insert:11 insert:12$/);
now('an asynchronous commit', q{SET synchronous_commit = off; INSERT INTO others VALUES (2, 'hidden'), (3, 'seen'); RESET synchronous_commit}, qr/^insert:3$/);
now('events', q{SELECT plank.send('news', '{"a": 1}')}, qr/^message$/);
now('plain notifications', q{NOTIFY news, 'x'}, qr/^message$/);
now('truncate', 'TRUNCATE others', qr/^truncate$/);

# More than memory may keep: pieces of one transaction go into files, and so does the log, until it is trimmed. A client
# that comes back then has it read again.
print $writer "SELECT fill(10001, 10050); DELETE FROM items WHERE id > 10000;\n";
print $writer "SELECT fill($_ * 100, $_ * 100 + 24);\n" for 101 .. 107;
check(sizes($client, 9) eq '50 50 25 25 25 25 25 25 25', 'transactions that are larger than their memory, and smaller ones');
my $end = time + $PlankClient::timeout;
while (sql('SELECT spill_bytes FROM plank.stat') ne '0')
{
	die "the log is not trimmed\n" if time > $end;
	$_->sync for $client, $viewer;
}
my @back = map { connect_client() } 1 .. 3;
my %asked = (type => 'subscribe', table => 'items', since => $first->{position});
$back[0]->send({ %asked, id => 'all' });
$back[1]->send({ %asked, id => 'some', where => 'id in (11, 4, 10700)' });
$back[2]->send({ %asked, id => 'all' });
$back[2]->disconnect;
check($back[0]->await('subscribed')->{resumed}, 'a resume over what memory has lost');
check(sizes($back[0], 11) eq '61 2 50 50 25 25 25 25 25 25 25', 'all of it');
check($back[1]->await('subscribed')->{resumed}, 'a resume under a condition');
check(join(' ', map { map { "$_->{op}:$_->{key}{id}" } @{ outcome($back[1])->{changes} } } 1 .. 2) eq 'insert:11 insert:10700', 'what passes it');
check(sql('SELECT wal_replayed > 1000000 AND resumed_by_replay >= 2 FROM plank.stat') eq 't', 'it has been read again');
for my $bad ('nonsense', $first->{position} =~ s/.(?=!)//r, 'w' . 'A' x 60)
{
	$back[0]->send({ %asked, id => 'bad', since => $bad });
	check($back[0]->await('error')->{code} eq '22023', "no position: $bad");
}

# Messages that others write under Plank's name, and one that knows the secret and is none.
print $writer <<'SQL';
SELECT pg_logical_emit_message(true, 'plank:00000000000000000000000000000000', 'anything');
SELECT pg_logical_emit_message(true, 'plank:', 'anything');
SELECT pg_logical_emit_message(false, 'another', repeat('x', 300000));
SQL
now('forged messages change nothing', 'INSERT INTO items VALUES (20)', qr/^insert:20$/);
print $writer q{SELECT pg_logical_emit_message(true, 'plank:' || secret, '\x01ff02') FROM plank.secret;}, "\n";
$client->await(sub { $_[0]{type} eq 'reset' && $_[0]{id} eq $_ }) for qw(items others);
my $position = now('what cannot be understood is a reset, and the stream goes on', 'INSERT INTO items VALUES (21)', qr/^insert:21$/)->{position};

# Another worker finds what was open and what was prepared.
my $worker = q{FROM pg_stat_activity WHERE backend_type = 'plank worker'};
my $pid = sql("SELECT pid $worker");
print $writer "BEGIN; INSERT INTO items VALUES (31000); PREPARE TRANSACTION 'over'; BEGIN; SELECT fill(30001, 30020); SELECT pg_advisory_lock(7);\n";
$end = time + $PlankClient::timeout;
while (sql(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}) eq '0')
{
	die "the session does not come to its lock\n" if time > $end;
	select undef, undef, undef, 0.05;
}
sql("SELECT pg_terminate_backend(pid) $worker");
check($client->close_code == 1001, 'clients hear that the worker goes');
check(sql(q{SELECT plank.wait_until_ready('300s')}) eq 't' && sql("SELECT pid $worker") ne $pid, 'another worker came');
$client = connect_client();
check($client->subscribe('items', table => 'items', since => $position)->{resumed}, 'a position outlives its worker');
$client->subscribe('rows', table => 'items', where => 'id >= 30000', snapshot => $yes);
check(rows_of($client, 'rows') == 0, 'what is open is not there yet');
now('a transaction that spoke to the former worker arrives', 'INSERT INTO items VALUES (30021); COMMIT', qr/^((insert:300\d\d) \2 ?){21}$/);
now('and one that was prepared then', "COMMIT PREPARED 'over'", qr/^insert:31000 insert:31000$/);
close $writer or die "the writer failed\n";

# A database that nobody serves says that changes are missing; the extension is made again, with another secret.
script(<<'SQL', 'template1');
CREATE EXTENSION plank;
CREATE TABLE items (id int PRIMARY KEY);
SELECT plank.track('items');
INSERT INTO items VALUES (1);
BEGIN; INSERT INTO items VALUES (2); PREPARE TRANSACTION 'gap';
ROLLBACK PREPARED 'gap';
SQL
script('SET client_min_messages = warning; DROP EXTENSION plank CASCADE');
$client->await('unsubscribed');
script(q{CREATE EXTENSION plank; SELECT plank.track('items'); SELECT plank.wait_until_ready('300s')});
$client->subscribe('again', table => 'items');
expect($client, 'an extension made again is heard', 'DELETE FROM items WHERE id >= 30000', qr/^(reset|(delete:3\d+ ?){22})$/);
print checks(), "\n";
