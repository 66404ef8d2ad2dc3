# Databases that are not UTF-8, from end to end: names, values, channels and errors are UTF-8 to the client and the
# database's own inside.
use strict;
use warnings;
use Encode qw(decode_utf8);
use FindBin;
use JSON::PP;
use lib $FindBin::Bin;
use PostgreSQL::Test::Utils;
use Test::More;
use PlankCluster;

my $node = PlankCluster->create('main', bare => 1, conf => "plank.databases = 'latin'");
$ENV{PGCLIENTENCODING} = 'UTF8';
$node->start;
$node->safe_psql('postgres', q{CREATE ROLE web; CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0});
# This file is UTF-8, as psql is told; what clients get is decoded.
$node->safe_psql('latin', <<'SQL');
CREATE EXTENSION plank;
CREATE TABLE "Cafés" ("clé" text PRIMARY KEY, "größe" text);
GRANT SELECT ON "Cafés" TO web;
SELECT plank.track('"Cafés"', notify => 'café'), plank.expose('café'), plank.expose('maïs');
SQL
$node->wait_until_ready('latin');
my $client = $node->client;
sub u { return decode_utf8($_[0]) }

my $subscribed = $client->subscribe(u('é'), table => u('"Cafés"'));
is($subscribed->{table}, u('public."Cafés"'), 'a table\'s name');
is_deeply([ map { $_->{name} } @{ $subscribed->{columns} } ], [ map { u($_) } 'clé', 'größe' ], 'columns\' names');
is_deeply($subscribed->{key}, [ u('clé') ], 'the key\'s');
$client->send({ type => 'tables' });
is($client->await('tables')->{tables}[0]{table}, u('public."Cafés"'), 'in the list of tables too');
$client->subscribe('c', channel => u('café'));
$client->subscribe('m', channel => u('maïs'));

$node->safe_psql('latin', q{INSERT INTO "Cafés" VALUES ('naïve', 'groß')});
is_deeply($client->transaction->{changes}[0],
	{ ids => [ u('é') ], table => u('public."Cafés"'), op => 'insert', key => { u('clé') => u('naïve') }, new => { u('clé') => u('naïve'), u('größe') => u('groß') } },
	'a change');
my $public = $client->transaction->{changes}[0];
is($public->{ids}[0], 'c', 'the public channel, which carries what the worker says in NOTIFY');
is(JSON::PP->new->decode($public->{payload})->{new}{ u('größe') }, u('groß'), 'its JSON');
$node->safe_psql('latin', q{SELECT plank.send('maïs', '"größer"')});
is($client->transaction->{changes}[0]{payload}, u('größer'), 'an application event');
$node->safe_psql('latin', q{NOTIFY "maïs", 'schön'});
is($client->transaction->{changes}[0]{payload}, u('schön'), 'a plain NOTIFY');
$node->safe_psql('latin', q{INSERT INTO "Cafés" SELECT i, repeat('é', 3000) FROM generate_series(1, 100) i});
is_deeply([ map { $_->{new}{ u('größe') } } @{ $client->transaction->{changes} } ], [ (u('é') x 3000) x 100 ], 'much of it, in many parts');

# A name that the encoding cannot hold is no table's.
sub refused { my ($table) = @_; $client->send({ type => 'subscribe', id => 'x', table => $table }); my $e = $client->await('error'); return "$e->{code} $e->{message}" }
is(refused(u('"日本"')), refused('missing'), 'a name beyond the encoding is as absent as any other');
is((split ' ', refused('missing'))[0], '42P01', 'which is 42P01');
$client->send({ type => 'subscribe', id => 'x', channel => u('日本') });
is($client->await('error')->{code}, '42501', 'a channel too');
ok($client->is_open, 'and the client goes on');
is($node->log_count(qr/ERROR|WARNING/), 0, 'without a complaint in the log');
$node->stop;
done_testing();
