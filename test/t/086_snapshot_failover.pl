# Positions behind a snapshot's rows after a failover: good where the rows are in the history that goes on, else `reset`.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use PlankCluster;

my ($primary, $standby) = PlankCluster->create_pair;
$primary->safe_psql('postgres', <<'SQL');
CREATE TABLE split (id int PRIMARY KEY) PARTITION BY LIST (id);
CREATE TABLE split_all PARTITION OF split DEFAULT;
GRANT SELECT ON split TO web;
SELECT plank.track('split');
INSERT INTO split VALUES (1);
SQL

sub ids { return join ' ', map { $_->{id} } @{ $_[0]{rows} } }
sub read_rows { my ($node) = @_; my $client = $node->reconnect; $client->subscribe('s', table => 'split', snapshot => JSON::PP::true); return $client }
# Whether the position is good there, and the rows that come when it is not.
sub resume
{
	my ($node, $position) = @_;
	my $client = $node->reconnect;
	return 'resumed' if $client->subscribe('s', table => 'split', snapshot => JSON::PP::true, since => $position)->{resumed};
	$client->await('reset');
	return 'reset, then ' . ids($client->await('rows'));
}

my $kept = read_rows($primary)->await('rows');
is(ids($kept), '1', 'rows that the standby has');
is(resume($standby, $kept->{position}), 'resumed', 'their position is good on the standby');

# The reader waits for the partition: the subscription begins before what the rows hold.
my $writer = $primary->background_psql('postgres', on_error_stop => 0);
$writer->query_safe('BEGIN; LOCK TABLE split_all IN ACCESS EXCLUSIVE MODE');
my $client = read_rows($primary);
$primary->wait_for('the reader in the queue for the lock',
	sub { $primary->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'plank snapshot' AND wait_event_type = 'Lock'}) eq '1' });
$primary->wait_for_catchup($standby, 'replay');
$standby->safe_psql('postgres', q{ALTER SYSTEM SET primary_conninfo = ''});
$standby->reload;
$primary->wait_for('the standby to stream no more', sub { $primary->safe_psql('postgres', 'SELECT count(*) FROM pg_stat_replication') eq '0' });
$writer->query_safe('INSERT INTO split VALUES (2); COMMIT');
my $lost = $client->await('rows');
is(ids($lost), '1 2', 'rows of which the standby lacks one');
is(resume($primary, $lost->{position}), 'resumed', 'their position is good where they are');
$writer->quit;

$primary->stop('immediate');
$standby->promote;
$standby->safe_psql('postgres', 'INSERT INTO split VALUES (3)');
is(resume($standby, $lost->{position}), 'reset, then 1 3', 'a row that the failover has taken back is void');
is(resume($standby, $kept->{position}), 'resumed', 'and rows that are still there are not');
$standby->stop;
done_testing();
