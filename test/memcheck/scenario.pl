# What a server goes through while its memory is watched: every path of capture, clients of every manner, reload,
# terminate. Arguments: folder of programs, folder of the server's
# socket and log, its port, Plank's port. Dies at the first surprise; prints the number of checks.
use strict;
use warnings;
use lib "$ENV{PLANK_TOP}/test/t";
use JSON::PP;
use PlankClient;

$PlankClient::timeout = $ENV{CHECK_TIMEOUT} // 600;    # everything is 30 times slower, on a busy machine more
my ($bindir, $folder, $port, $plank_port) = @ARGV;
my @psql = ("$bindir/psql", '-XqAt', '-v', 'ON_ERROR_STOP=1', '-h', $folder, '-p', $port, '-U', 'postgres', 'postgres');
my $checks = 0;

sub sql
{
	my ($text) = @_;
	open my $out, '-|', @psql, '-c', $text or die "psql: $!";
	local $/;
	my $answer = <$out> // '';
	close $out or die "failed: $text\n";
	return $answer =~ s/\n\z//r;
}
# Several statements in one session, each a transaction of its own unless they say otherwise.
sub script
{
	my ($text) = @_;
	open my $in, '|-', @psql, '-o', '/dev/null', '-f', '-' or die "psql: $!";
	print $in $text;
	close $in or die "failed: $text\n";
	return;
}
sub check { my ($good, $what) = @_; die "not so: $what\n" unless $good; $checks++; return }
sub connect_client { return PlankClient->reconnect($plank_port) }
# The next transaction, or the reset that stands in its place.
sub outcome
{
	my ($client) = @_;
	my $first = $client->await(sub { $_[0]{type} =~ /^(transaction|reset)$/ });
	return $first if $first->{type} eq 'reset';
	my $part = $first;
	while ($part->{more}) { $part = $client->await('transaction'); push @{ $first->{changes} }, @{ $part->{changes} } }
	return $first;
}
sub expect
{
	my ($client, $what, $statements, $wanted) = @_;
	$client->sync;
	script($statements);
	my $got = outcome($client);
	my $ops = join ' ', map { "$_->{op}" . ($_->{key} ? ':' . join ',', map { "$_" } values %{ $_->{key} } : '') } @{ $got->{changes} // [] };
	$ops = $got->{type} if $got->{type} ne 'transaction';
	check($ops =~ $wanted, "$what: $ops");
	return;
}

sub wait_for_line
{
	my ($line) = @_;
	my $end = time + $PlankClient::timeout;
	while (1)
	{
		open my $log, '<', "$folder/server.log" or die "server.log: $!";
		return check(1, $line) if grep { /\Q$line\E$/ } <$log>;
		die "not in the log: $line\n" if time > $end;
		select undef, undef, undef, 0.05;
	}
}

script(<<'SQL');
CREATE ROLE web;
CREATE EXTENSION plank;
CREATE TABLE items (id int PRIMARY KEY, name text, wide numeric[], at timestamptz DEFAULT now());
CREATE TABLE totals (id int PRIMARY KEY, n bigint);
INSERT INTO totals VALUES (1, 0);
CREATE TABLE parts (id int, kind text, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
CREATE TABLE parts_b (kind text NOT NULL, id int NOT NULL);
ALTER TABLE parts ATTACH PARTITION parts_b FOR VALUES IN ('b');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN short AS text CHECK (length(value) < 100);
CREATE TABLE odd (id int PRIMARY KEY, p pair, ps pair[], s short, j json, r int4range, b bytea, x "char", c regclass);
CREATE FUNCTION add_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE totals SET n = n + 1 WHERE id = 1;
	BEGIN
		UPDATE totals SET n = n + 100 WHERE id = 1;
		RAISE EXCEPTION 'back';
	EXCEPTION WHEN raise_exception THEN NULL;
	END;
	RETURN NULL;
END $$;
CREATE TRIGGER add_up AFTER INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION add_up();
GRANT SELECT ON ALL TABLES IN SCHEMA public TO web;
SELECT plank.track('items', notify => 'items_changed'), plank.track('totals'), plank.track('odd');
SELECT plank.track('parts', filter => 'id < 1000');
SELECT plank.expose('news');
SQL
check(sql(q{SELECT plank.wait_until_ready('100s')}) eq 't', 'the worker is ready');

my $client = connect_client();
$client->subscribe($_, table => $_) for qw(items totals parts odd);
$client->subscribe('news', channel => 'news');

expect($client, 'nested triggers, in the order of commands', "INSERT INTO items SELECT i, 'x', ARRAY[i, NULL, 1e100] FROM generate_series(1, 3) i",
	qr/^insert:1 (insert:2 insert:3 )?update:1/);
expect($client, 'savepoints', <<'SQL', qr/^insert:10 update:1 insert:13 update:1 update:10 update:1$/);
BEGIN;
INSERT INTO items VALUES (10, 'kept');
SAVEPOINT a; INSERT INTO items VALUES (11, 'gone'); SAVEPOINT b; INSERT INTO items SELECT i FROM generate_series(100, 400) i;
ROLLBACK TO a; INSERT INTO items VALUES (12, 'gone too'); ROLLBACK TO a; RELEASE a;
SAVEPOINT c; SAVEPOINT d; INSERT INTO items VALUES (13, 'kept'); RELEASE d; RELEASE c;
UPDATE items SET name = 'changed' WHERE id = 10;
COMMIT;
SQL
expect($client, 'partitions, moves and the filter', <<'SQL', qr/^insert:.* insert:.* (update|delete|insert)/);
BEGIN;
INSERT INTO parts VALUES (1, 'a'), (2, 'b'), (2000, 'a');
UPDATE parts SET kind = 'b' WHERE id = 1;
UPDATE parts SET id = 500 WHERE id = 2000;
UPDATE parts_b SET id = 3000 WHERE id = 2;
COMMIT;
SQL
expect($client, 'types of every kind', <<'SQL', qr/^insert:1 update:1 delete:1$/);
BEGIN;
INSERT INTO odd VALUES (1, (1, 'x'), ARRAY[(1, 'y')::pair, NULL], 'ü', '{"a": [1, null]}', '[1,5)', '\x0001ff', 'c', 'items');
UPDATE odd SET p = (2, NULL), j = NULL, b = decode(repeat('ab', 5000), 'hex');
DELETE FROM odd;
COMMIT;
SQL
expect($client, 'a composite that grew', <<'SQL', qr/^insert:2 insert:3$/);
BEGIN;
INSERT INTO odd (id, p) VALUES (2, (1, 'x'));
ALTER TYPE pair ADD ATTRIBUTE c numeric;
INSERT INTO odd (id, p) VALUES (3, (1, 'x', 2));
COMMIT;
SQL
expect($client, 'a row of a megabyte', "INSERT INTO items VALUES (20, repeat(md5('x'), 40000))", qr/^insert:20 /);
expect($client, 'a thousand rows', "INSERT INTO parts SELECT i, 'a' FROM generate_series(10, 999) i WHERE i <> 500", qr/^(insert:\S+ ?){989}$/);
expect($client, 'truncate', 'TRUNCATE parts_a, parts_b, odd', qr/truncate|reset/);
script(q{ALTER SYSTEM SET plank.notify_limit = '64kB'; SELECT pg_reload_conf()});
expect($client, 'more than notify_limit', <<'SQL', qr/^reset$/);
BEGIN;
SAVEPOINT a; INSERT INTO items SELECT i, repeat('x', 1000) FROM generate_series(1001, 1100) i; ROLLBACK TO a;
INSERT INTO items VALUES (21, 'after');
COMMIT;
SQL
script(q{ALTER SYSTEM RESET plank.notify_limit; SELECT pg_reload_conf()});

# DDL under clients.
$client->sync;
script(<<'SQL');
ALTER TABLE items ADD COLUMN extra int DEFAULT 7;
INSERT INTO items (id, extra) VALUES (30, 1);
ALTER TABLE items RENAME COLUMN extra TO more;
ALTER TABLE items DROP COLUMN wide;
INSERT INTO items (id, more) VALUES (31, 1);
SELECT plank.send('news', '{"a": 1}');
SQL
$client->await(sub { grep { $_->{op} eq 'message' && $_->{payload}{a} == 1 } @{ $_[0]{changes} // [] } });

# Errors on the way.
for my $bad ('SELECT plank.capture()', 'CREATE TABLE f (id int); CREATE TRIGGER t BEFORE INSERT ON f FOR EACH ROW EXECUTE FUNCTION plank.capture(); INSERT INTO f VALUES (1)',
	"SELECT plank.track('nothing')", q{BEGIN; INSERT INTO items VALUES (40); PREPARE TRANSACTION 'p'}, "SELECT plank.expose('plank:x')")
{
	check(system("@psql -c \"$bad\" >/dev/null 2>&1") != 0, "refused: $bad");
}

# Many clients, of every manner.
my @clients = map { connect_client() } 1 .. 8;
$_->subscribe('i', table => 'items', events => ['insert']) for @clients;
$clients[0]->send_text($_) for '{', '[]', '{"type":"subscribe"}', '{"type":"subscribe","id":"x","table":"no.such"}', '{"type":"subscribe","id":"i","table":"items"}', "\x{1}" x 100;
$clients[1]->send({ type => 'unsubscribe', id => 'i' });
$clients[2]->send({ type => 'subscribe', id => "n$_", table => 'totals' }) for 1 .. 50;
$clients[3]->disconnect;
$clients[4]->send_text('x' x 200_000);
check($clients[4]->close_code == 1009, 'a message too long');
script("INSERT INTO items SELECT i, repeat('y', 1000) FROM generate_series(50, 300) i");
$clients[5]->disconnect;
check(@{ $clients[6]->transaction->{changes} } == 251, 'clients that stay get all');
$client->send({ type => 'tables' });
$client->await('tables');
check(sql('SELECT count(*) FROM plank.clients') >= 5, 'plank.clients');
check(sql('SELECT count(*) FROM plank.subscriptions') >= 5, 'plank.subscriptions');
check(sql('SELECT state FROM plank.stat') eq 'ready', 'plank.stat');
check((PlankClient::http($plank_port, '/'))[0] == 200, 'the page');
check((PlankClient::http($plank_port, '/plank.js'))[0] == 200, 'the client library');
check((PlankClient::http($plank_port, '/health'))[0] == 200, 'health');
check((PlankClient::http($plank_port, '/' . 'x' x 3000))[0] >= 400, 'no such path');

# What subscriptions see: conditions that are good, bad and fail later, columns, rows that are there already, and what was missed.
my $viewer = connect_client();
my $yes = JSON::PP::true;
my $missed = $viewer->subscribe('all', table => 'items', columns => ['name'])->{position};
my $rows = sub { my ($from, $id) = @_; my @all; while (1) { my $part = $from->await(sub { $_[0]{type} eq 'rows' && $_[0]{id} eq $id }); push @all, @{ $part->{rows} }; return @all if !$part->{more} } };
$viewer->subscribe('few', table => 'items', where => 'id between 50 and 59 and name is not null', snapshot => $yes);
check($rows->($viewer, 'few') == 10, 'the rows of a condition');
$viewer->subscribe('whole', table => 'items', snapshot => $yes, numbers => 'text');
check($rows->($viewer, 'whole') > 251, 'the rows of a table');
for my $where ("id = any('{52,53}')", "name like 'y%' and more is null", "length(name) > 5 or id in (1, 2, 3)", "at < '2000-01-01'", "1 / (id - 500) >= 0")
{
	$viewer->subscribe($where =~ s/\W//gr, table => 'items', where => $where);
}
for my $where ('id =', 'no_such = 1', 'id', "name::int = 1 and pg_sleep(1) is null", '(select 1) = 1', "id = any('{1,')")
{
	my $answer = eval { $viewer->subscribe('bad', table => 'items', where => $where) };
	check(!$answer, "refused: $where");
}
script(<<'SQL');
BEGIN;
INSERT INTO items SELECT i, 'z' FROM generate_series(501, 520) i;
UPDATE items SET id = id + 1000 WHERE id BETWEEN 52 AND 55;
UPDATE items SET name = repeat('n', 3000) WHERE id = 56;
DELETE FROM items WHERE id = 57;
COMMIT;
SQL
my $seen = $viewer->transaction;
check((grep { $_->{op} eq 'delete' && ($_->{cause} // '') eq 'update' } @{ $seen->{changes} }), 'rows that leave a condition');
script("INSERT INTO items VALUES (500, 'division by zero')");
check($viewer->await('unsubscribed')->{code} eq '22012', 'a condition that fails later ends alone');
my $back = connect_client();
check($back->subscribe('all', table => 'items', since => $missed)->{resumed}, 'what was missed');
check($back->transaction->{catchup} eq 'all', 'all of it');
check($back->subscribe('few', table => 'items', since => $missed, where => 'id > 510')->{resumed}, 'what was missed, under a condition');
$back->await(sub { ($_[0]{catchup} // '') eq 'few' });
$back->subscribe('gone', table => 'items', where => 'more > 0', snapshot => $yes);
$back->subscribe('goes', table => 'items', where => 'id < 10');
$back->send({ type => 'unsubscribe', id => 'goes' });
script('ALTER TABLE items DROP COLUMN more');
$back->await(sub { $_[0]{type} eq 'unsubscribed' && $_[0]{id} eq 'gone' });
script('TRUNCATE items; INSERT INTO items VALUES (1)');
$viewer->send({ type => 'subscribe', id => 'last', table => 'items', where => 'id = 1', snapshot => $yes });
$viewer->disconnect;    # with a snapshot under way
script("INSERT INTO items SELECT i, 'y' FROM generate_series(2, 300) i");

# Tokens: good, of a role that may not be used, forged; renewed, and no longer granted; keys that change.
script('CREATE ROLE gate; CREATE ROLE team; GRANT team TO gate; GRANT SELECT ON items TO team');
my $token = sql(q{SELECT plank.sign('{"role": "team", "sub": "7", "deep": [{"a": 1.5}, "x"]}', '1 hour')});
my ($member, $second, $other, $forger) = map { connect_client() } 1 .. 4;
$_->send({ type => 'auth', token => $token }) for $member, $second, $second;
check($member->await('authenticated')->{role} eq 'team', 'a token gives its role');
$member->subscribe('i', table => 'items');
$second->await('authenticated') for 1, 2;
$other->send({ type => 'auth', token => sql(q{SELECT plank.sign('{"role": "postgres"}', '1 hour')}) });
check($other->await('error')->{code} eq '28000' && $other->close_code == 4001, 'a superuser is refused');
$forger->send({ type => 'auth', token => substr($token, 0, -3) . 'AAA' });
check($forger->await('error')->{code} eq '28000' && $forger->close_code == 4001, 'a forged token is refused');
my $again = sql(q{SELECT plank.sign('{"role": "team", "sub": "8"}', '1 hour')});
$member->send({ type => 'auth', token => $again });
check($member->await('unsubscribed')->{code} eq '28000', 'somebody else starts anew');
$member->await('authenticated');
script('REVOKE team FROM gate');
check($member->close_code == 4001 && $second->close_code == 4001, 'what is no longer granted ends');
for my $keys ('{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}', 'short')
{
	open my $out, '>', "$folder/jwt.key" or die "jwt.key: $!";
	print $out $keys;
	close $out;
	wait_for_line($keys eq 'short' ? 'a secret has fewer than 32 bytes' : 'the keys for tokens have been read again');
}
script(q{ALTER SYSTEM SET plank.trusted_proxies = '10.0.0.0/8, unix'; ALTER SYSTEM SET plank.ssl_cert_file = '/none'; SELECT pg_reload_conf()});
wait_for_line('file "/none" cannot be used for TLS: No such file or directory');
script(q{ALTER SYSTEM RESET plank.ssl_cert_file; SELECT pg_reload_conf()});

# What is taken away.
script('REVOKE SELECT ON totals FROM web; SELECT plank.untrack(\'odd\'); DROP TABLE parts; SELECT plank.unexpose(\'news\')');
$clients[7]->send({ type => 'subscribe', id => 't', table => 'totals' });
check($clients[7]->await('error')->{code}, 'no privilege any more');
script(q{ALTER SYSTEM SET plank.anonymous_role = 'postgres'; SELECT pg_reload_conf()});
$client->close_code;
script(q{ALTER SYSTEM RESET plank.anonymous_role; SELECT pg_reload_conf()});
script('SET client_min_messages = warning; DROP EXTENSION plank CASCADE');
script(q{CREATE EXTENSION plank; SELECT plank.track('items')});
check(sql(q{SELECT plank.wait_until_ready('100s')}) eq 't', 'the extension came back');

# An error in the worker's own look at the catalog is logged, and mended by the next look.
script('ALTER TABLE plank.channel RENAME COLUMN role TO role_; SELECT pg_reload_conf()');
wait_for_line('plank: plank.channel lacks a column');
script('ALTER TABLE plank.channel RENAME COLUMN role_ TO role');

# The worker goes and comes back; clients are there at both ends.
$client = connect_client();
$client->subscribe('i', table => 'items');
my $worker = q{FROM pg_stat_activity WHERE backend_type = 'plank worker'};
my $pid = sql("SELECT pid $worker");
sql("SELECT pg_cancel_backend(pid) $worker");
expect($client, 'a cancel hurts nobody', 'INSERT INTO items (id) VALUES (400)', qr/^insert:400$/);
sql("SELECT pg_terminate_backend(pid) $worker");
check($client->close_code == 1001, 'clients hear that the worker goes');
check(sql(qq{SELECT plank.wait_until_ready('100s')}) eq 't' && sql("SELECT pid $worker") ne $pid, 'another worker came');
$client = connect_client();
$client->subscribe('i', table => 'items');
expect($client, 'and serves', 'DELETE FROM items WHERE id < 20', qr/^delete:1 /);
print "$checks\n";
