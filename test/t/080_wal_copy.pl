# C20: two servers from one data directory that both go on writing share identifier, timeline and WAL up to the copy. What
# came before the copy is good on both; what came after it is a reset on the other, also where both committed the same.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use PostgreSQL::Test::Utils;
use Test::More;
use PlankCluster;

my $original = PlankCluster->create('original', bare => 1, conf => "plank.transport = wal\nwal_level = replica\nwal_keep_size = 256MB\nautovacuum = off");
$original->start;
$original->set_up('postgres');
my $before = $original->watcher;
$original->insert(1);
my $common = $before->transaction->{position};

# A copy as a snapshot of the disk makes it: with all of the WAL.
$original->stop;
$original->backup_fs_cold('copy');
$original->start;
$original->wait_until_ready;
my $copy = PostgreSQL::Test::Cluster->new('copy');
bless $copy, 'PlankCluster';
$copy->init_from_backup($original, 'copy');
$copy->{plank_port} = PostgreSQL::Test::Cluster::get_free_port();
$copy->append_conf('postgresql.conf', "plank.port = $copy->{plank_port}\n");
$copy->start;
$copy->wait_until_ready;
my ($identity, $other) = map { $_->safe_psql('postgres', 'SELECT system_identifier, timeline_id FROM pg_control_system(), pg_control_checkpoint()') } $original, $copy;
is($other, $identity, 'one identifier, one timeline');

# The ids that come behind a position, or what else there is; the row that is written last ends it.
my $last = 1000;
sub resumed
{
	my ($node, $since) = @_;
	my $client = $node->reconnect;
	$client->send({ type => 'subscribe', id => 'items', table => 'items', since => $since });
	my $answer = $client->await(sub { ($_[0]{id} // '') eq 'items' });
	return "$answer->{type} $answer->{code}" if $answer->{type} eq 'error';
	return $client->await('reset')->{type} if !$answer->{resumed};
	$node->insert(++$last);
	my @ids;
	while (!@ids || $ids[-1] != $last) { push @ids, map { $_->{new}{id} } @{ $client->transaction->{changes} } }
	pop @ids;
	return join ' ', @ids;
}

# The same statements on both, so that position in WAL and transaction number may well be the same.
my %watcher = map { ($_->name => $_->watcher) } $original, $copy;
my %position;
for my $id (2 .. 4)
{
	for my $node ($original, $copy)
	{
		$node->insert($id);
		$position{ $node->name }[$id] = $watcher{ $node->name }->transaction->{position};
	}
}
isnt($position{copy}[$_], $position{original}[$_], "commit $_ is another one in each") for 2 .. 4;
for my $case ([ $original, 'copy' ], [ $copy, 'original' ])
{
	my ($node, $stranger) = @$case;
	is(resumed($node, $position{$stranger}[$_]), 'reset', "a position of the $stranger, commit $_, is a reset on the " . $node->name) for 2 .. 4;
}
is(resumed($_, $position{ $_->name }[3]), '4', 'its own is good on the ' . $_->name) for $original, $copy;
# The marks of what was asked before came since.
like(resumed($_, $common), qr/^2 3 4 \d+$/, 'so is one from before the copy on the ' . $_->name) for $original, $copy;

# Over a restart nothing but WAL is left to tell.
for my $node ($original, $copy) { $node->restart; $node->wait_until_ready }
is(resumed($original, $position{copy}[3]), 'reset', 'after a restart it is still a reset');
is(resumed($copy, $position{original}[3]), 'reset', 'on either');
like(resumed($original, $position{original}[4]), qr/^\d+ \d+$/, 'and its own is still good');
$_->stop for $copy, $original;
done_testing();
