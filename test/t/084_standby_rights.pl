# What the primary's administrator changes of roles, privileges and row security reaches clients of its standby, and goes on
# to do so after the standby's promotion.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use Digest::SHA qw(hmac_sha256);
use JSON::PP;
use MIME::Base64 qw(encode_base64url);
use PostgreSQL::Test::Utils;
use Test::More;
use PlankCluster;

my $secret = 'a secret of more than thirty-two bytes';
my ($primary, $standby) = PlankCluster->create_pair(standby_conf => "plank.jwt_key_file = 'key'\n");
append_to_file($standby->data_dir . '/key', $secret);
$standby->reload;

sub token
{
	my ($role, %claims) = @_;
	my $signed = join '.', map { encode_base64url(encode_json($_)) } { alg => 'HS256', typ => 'JWT' }, { role => $role, exp => time + 3600, %claims };
	return "$signed." . encode_base64url(hmac_sha256($signed, $secret));
}
sub sql { $primary->safe_psql('postgres', $_) for @_; return }
sub unsubscribed { my ($client, $id) = @_; return $client->await(sub { $_[0]{type} eq 'unsubscribed' && $_[0]{id} eq $id })->{code} }
sub ids { return join ' ', sort { $a <=> $b } map { $_->{id} } @{ $_[0]{rows} } }

sql(<<'SQL');
CREATE ROLE alice;
CREATE ROLE readers;
GRANT readers TO alice;
CREATE TABLE docs (id int PRIMARY KEY, owner text, secret text);
GRANT SELECT ON docs TO web, readers;
CREATE TABLE shares (doc int PRIMARY KEY);
GRANT SELECT ON shares TO web, readers;
ALTER TABLE docs ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON docs USING (id < 10);
SELECT plank.track('docs');
INSERT INTO docs SELECT g, 'bob', 's' FROM generate_series(1, 3) g;
INSERT INTO docs SELECT g, 'bob', 's' FROM generate_series(11, 13) g;
SQL
$primary->wait_for_catchup($standby);

my $web = $standby->client;
$web->subscribe('docs', table => 'docs', snapshot => JSON::PP::true);
is(ids($web->await('rows')), '1 2 3', 'row security is in force on the standby');
my $plain = $standby->watcher;

# What is live after a change must fit the new rights: the marker is in the new and in the former rows, or in one of them.
sub heard
{
	my ($client, $hidden, $seen) = @_;
	sql("INSERT INTO docs VALUES ($hidden, 'bob', 's')", "INSERT INTO docs VALUES ($seen, 'bob', 's')");
	return $client->transaction->{changes}[0]{new}{id};
}
is(heard($web, 14, 4), 4, 'and in the stream');

sql('ALTER POLICY few ON docs USING (id >= 10)');
$web->await('reset');
is(ids($web->await('rows')), '11 12 13 14', 'ALTER POLICY: rows become visible, and others invisible');
is(heard($web, 5, 15), 15, 'in the stream too');

sql('ALTER POLICY few ON docs USING (EXISTS (SELECT FROM shares s WHERE s.doc = docs.id))', 'INSERT INTO shares VALUES (6), (11)');
$web->await('reset');
$web->await('rows');
is(heard($web, 16, 6), 6, 'a policy with a subquery');
sql('REVOKE SELECT ON shares FROM web', q{INSERT INTO docs VALUES (111, 'bob', 's')});
is(unsubscribed($web, 'docs'), '42501', 'who may not read what the policy reads');
sql('GRANT SELECT ON shares TO web', 'CREATE POLICY more ON docs USING (id > 100)');
$primary->wait_for_catchup($standby);
$web->subscribe('docs', table => 'docs', snapshot => JSON::PP::true);
is(ids($web->await('rows')), '6 11 111', 'a second policy');
sql('DROP POLICY more ON docs');
$web->await('reset');
is(ids($web->await('rows')), '6 11', 'is dropped');
sql('ALTER TABLE docs DISABLE ROW LEVEL SECURITY');
$web->await('reset');
is(ids($web->await('rows')), '1 2 3 4 5 6 11 12 13 14 15 16 111', 'row security is switched off');
sql('ALTER TABLE docs ENABLE ROW LEVEL SECURITY');
$web->await('reset');
is(ids($web->await('rows')), '6 11', 'and on');

# Columns.
sql('BEGIN; REVOKE SELECT ON docs FROM web; GRANT SELECT (id, owner) ON docs TO web; COMMIT');
$web->await('reset');
is(join(' ', sort keys %{ $web->await('rows')->{rows}[0] }), 'id owner', 'a column is hidden');
sql('GRANT SELECT ON docs TO web');
$web->await('reset');
is(join(' ', sort keys %{ $web->await('rows')->{rows}[0] }), 'id owner secret', 'and shown');

# Membership in a role, in a session that goes on with its others.
my $alice = $standby->client;
$alice->send({ type => 'auth', token => token('alice') });
is($alice->await('authenticated')->{role}, 'alice', 'a token\'s role');
$alice->subscribe('docs', table => 'docs');
sql('REVOKE readers FROM alice');
is(unsubscribed($alice, 'docs'), '42P01', 'a role that is no member any more');
sql('GRANT readers TO alice');
$primary->wait_for_catchup($standby);
$alice->subscribe('docs', table => 'docs');
pass('and is one again');

# Privileges on the table, and the table.
sql('REVOKE SELECT ON docs FROM web');
is(unsubscribed($web, 'docs'), '42P01', 'REVOKE');
ok($alice->is_open, 'whom it does not concern goes on');
sql('DROP TABLE docs');
is(unsubscribed($alice, 'docs'), '42P01', 'DROP TABLE');

# Roles that are dropped take their clients with them; a role that comes anew is let in.
sql('DROP OWNED BY alice', 'DROP ROLE alice');
is($alice->close_code, 4001, 'a token\'s role is dropped');
sql('DROP OWNED BY web', 'DROP ROLE web');
is($plain->close_code, 4001, 'the anonymous role is dropped');
sql('CREATE ROLE web', 'GRANT SELECT ON items TO web', 'ALTER TABLE items ENABLE ROW LEVEL SECURITY', 'CREATE POLICY odd ON items USING (id % 2 = 1)');
$standby->wait_for('the new role', sub { my $c = $standby->client; return ($c->await('welcome')->{role} // '') eq 'web' });
pass('and let in when it is there again');

# Promotion: whoever is served goes on, under the same row security, and hears of what changes it from now on.
sql(<<'SQL');
CREATE TABLE allowed (id int PRIMARY KEY);
INSERT INTO allowed SELECT generate_series(1, 100, 2);
GRANT SELECT ON allowed TO web;
CREATE TABLE unseen (id int PRIMARY KEY);
ALTER POLICY odd ON items USING (id IN (SELECT id FROM allowed));
SQL
$primary->wait_for_catchup($standby);
my $client = $standby->client;
my $first = $client->subscribe('items', table => 'items', snapshot => JSON::PP::true);
$client->await('rows');
my $pid = $standby->worker_pid;
$primary->insert($_) for 1 .. 4;
is($client->transaction->{changes}[0]{new}{id}, 1, 'before the promotion');
my $position = $client->transaction->{position};
$primary->wait_for_catchup($standby);
$primary->stop;
$standby->promote;
$standby->insert($_) for 5 .. 8;
is($client->transaction->{changes}[0]{new}{id}, $_, 'the same client after it') for 5, 7;
is($standby->worker_pid, $pid, 'by the same worker');
my $other = $standby->client;
is($other->subscribe('items', table => 'items', since => $position)->{resumed}, JSON::PP::true, 'another one resumes over it');
is($other->transaction->{changes}[0]{new}{id}, $_, 'and hears what it may') for 5, 7;
# What a policy calls leaves nothing behind here, which on a standby nothing could.
$standby->safe_psql('postgres', <<'SQL');
CREATE FUNCTION tells(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
	PERFORM pg_notify('told', 'x'), set_config('application_name', 'policy', false), pg_advisory_lock(7); RETURN $1 % 2 = 0; END $$;
SELECT plank.expose('told');
ALTER POLICY odd ON items USING (tells(id));
SQL
$client->await('reset');
is(ids($client->await('rows')), '2 4 6 8', 'ALTER POLICY after the promotion');
$standby->wait_for('the channel', sub { return eval { $client->subscribe('told', channel => 'told') } });
$standby->insert($_) for 9, 10;
my $heard = $client->transaction;
is_deeply([ map { $_->{new}{id} // $_->{channel} } @{ $heard->{changes} } ], [10], 'rows, and no notification that a policy has sent');
is($standby->safe_psql('postgres', q{SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'), application_name FROM pg_stat_activity WHERE backend_type = 'plank worker'}),
	'0|plank', 'nor a lock or a setting');

$standby->stop;
done_testing();
