# Changes that logical replication applies arrive like any others (C7), and so does what it empties: a table, a partitioned
# table, a single partition (C15), which fires no trigger.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use PlankCluster;

my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical', extra => [ '--no-locale', '--encoding=UTF8' ]);
$publisher->start;
my $node = PlankCluster->create('main');

my $tables = <<'SQL';
CREATE TABLE parts (id int, day int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (id);
CREATE TABLE parts_2a PARTITION OF parts_2 FOR VALUES FROM (0) TO (100);
CREATE TABLE parts_2b PARTITION OF parts_2 FOR VALUES FROM (100) TO (200);
CREATE TABLE rows_only (id int, day int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE rows_only_1 PARTITION OF rows_only FOR VALUES FROM (0) TO (10);
SQL
$publisher->safe_psql('postgres', "CREATE TABLE items (id int PRIMARY KEY, name text); $tables
	CREATE PUBLICATION leaves FOR TABLE items, parts; CREATE PUBLICATION roots FOR TABLE rows_only WITH (publish_via_partition_root)");
$node->safe_psql('postgres', "$tables GRANT SELECT ON parts, rows_only TO web;
	SELECT plank.track('parts'), plank.track('rows_only')");
my $source = $publisher->connstr . ' dbname=postgres';
$node->safe_psql('postgres', "CREATE SUBSCRIPTION all_of_it CONNECTION '$source' PUBLICATION leaves, roots");
$node->wait_for_subscription_sync($publisher, 'all_of_it');

my $client = $node->watcher;
$client->subscribe($_, table => $_) for 'parts', 'rows_only';

# Rows.
$publisher->safe_psql('postgres', q{BEGIN; INSERT INTO items VALUES (1, 'one'), (2, 'two'); UPDATE items SET name = 'uno' WHERE id = 1;
	DELETE FROM items WHERE id = 2; INSERT INTO parts VALUES (1, 1), (1, 11), (101, 11); COMMIT});
my $transaction = $client->transaction;
is_deeply([ map { "$_->{table} $_->{op}" } @{ $transaction->{changes} } ],
	[ ('public.items insert') x 2, 'public.items update', 'public.items delete', ('public.parts insert') x 3 ],
	'a replicated transaction is one message, and a partition goes by its table\'s name');
$node->safe_psql('postgres', q{SET session_replication_role = replica; INSERT INTO items VALUES (3, 'three')});
is($client->transaction->{changes}[0]{new}{id}, 3, 'session_replication_role does not hide changes');

# What is empty afterwards. A row after it shows that nothing else came.
my $last = 100;
sub told
{
	my ($statement) = @_;
	$publisher->safe_psql('postgres', $statement);
	$publisher->safe_psql('postgres', sprintf q{INSERT INTO items VALUES (%d, 'mark')}, ++$last);
	my @told;
	while (1)
	{
		my $message = $client->await(sub { $_[0]{type} =~ /^(transaction|reset)$/ });
		if ($message->{type} eq 'reset') { push @told, "reset $message->{id}: $message->{reason}"; next }
		return \@told if ($message->{changes}[0]{new}{id} // 0) == $last;
		push @told, map { "$_->{op} @{ $_->{ids} }" } @{ $message->{changes} };
	}
}
my $reset = 'reset parts: a partition was truncated';
is_deeply(told('TRUNCATE items'), ['truncate items'], 'TRUNCATE of a table');
is_deeply(told('TRUNCATE parts_1'), [$reset], 'TRUNCATE of one partition resets the partitioned table');
is_deeply(told('TRUNCATE parts_2b'), [$reset], 'of a partition of a partition too');
is_deeply(told('TRUNCATE parts_2'), [$reset], 'and of all below one, once');
is_deeply(told('TRUNCATE parts'), [$reset], 'TRUNCATE of a partitioned table that is published by its partitions');
is_deeply(told('TRUNCATE rows_only'), ['truncate rows_only'], 'and of one that is published as itself');
is_deeply(told('BEGIN; INSERT INTO parts VALUES (7, 7); TRUNCATE parts_1; COMMIT'), [ 'insert parts', $reset ],
	'the reset comes behind what the transaction did before');
is_deeply(told('BEGIN; TRUNCATE parts_1; ROLLBACK'), [], 'nothing of what is rolled back');
is($node->safe_psql('postgres', 'SELECT count(*) FROM parts'), 0, 'all of that was applied');

# Nothing is said where nobody tracks.
$node->safe_psql('postgres', q{SELECT plank.untrack('parts')});
is($client->await('unsubscribed')->{id}, 'parts', 'untracked');
is_deeply(told('TRUNCATE parts_1'), [], 'an untracked table is none of our business');
is($node->log_count(qr/ERROR/), 0, 'the workers of logical replication had no error');
$node->stop;
$publisher->stop;
done_testing();
