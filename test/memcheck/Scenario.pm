# What the scenarios share. Arguments of the program: folder of PostgreSQL's programs, folder of the server's socket and
# log, its port, Plank's port. Dies at the first surprise.
package Scenario;
use strict;
use warnings;
use lib "$ENV{PLANK_TOP}/test/t";
use Exporter 'import';
use PlankClient;

our @EXPORT = qw(sql psql script session check checks connect_client outcome expect rows_of wait_for_line $folder $plank_port);

$PlankClient::timeout = $ENV{CHECK_TIMEOUT} // 300;    # everything is 30 times slower, and two servers run at once
our ($bindir, $folder, $port, $plank_port) = @ARGV;
my $checks = 0;

sub psql { my ($database) = @_; return ("$bindir/psql", '-XqAt', '-v', 'ON_ERROR_STOP=1', '-h', $folder, '-p', $port, '-U', 'postgres', $database // 'postgres') }
sub sql
{
	my ($text) = @_;
	open my $out, '-|', psql(), '-c', $text or die "psql: $!";
	local $/;
	my $answer = <$out> // '';
	close $out or die "failed: $text\n";
	return $answer =~ s/\n\z//r;
}
# Several statements in one session, each a transaction of its own unless they say otherwise.
sub script
{
	my ($text, $database) = @_;
	open my $in, '|-', psql($database), '-o', '/dev/null', '-f', '-' or die "psql: $!";
	print $in $text;
	close $in or die "failed: $text\n";
	return;
}
# A session that is told more as time goes by; what it does is seen by clients.
sub session
{
	open my $session, '|-', psql(), '-o', '/dev/null', '-f', '-' or die "psql: $!";
	$session->autoflush(1);
	return $session;
}
# Its prototype is for matches and greps that find nothing: as a list they would be no argument at all.
sub check ($$) { my ($good, $what) = @_; die "not so: $what\n" unless $good; $checks++; return }
sub checks { return $checks }
sub connect_client { return PlankClient->reconnect($plank_port) }
# The next transaction, or the reset that stands in its place.
sub outcome
{
	my ($client) = @_;
	my $first = $client->await(sub { $_[0]{type} =~ /^(transaction|reset)$/ });
	return $first if $first->{type} eq 'reset';
	my $part = $first;
	while ($part->{more})
	{
		$part = $client->await('transaction');
		push @{ $first->{changes} }, @{ $part->{changes} };
		$first->{position} = $part->{position};
	}
	return $first;
}
sub expect
{
	my ($client, $what, $statements, $wanted, $session) = @_;
	$client->sync;
	if ($session) { print $session "$statements;\n" } else { script($statements) }
	my $got = outcome($client);
	my $ops = join ' ', map { "$_->{op}" . ($_->{key} ? ':' . join ',', map { "$_" } values %{ $_->{key} } : '') } @{ $got->{changes} // [] };
	$ops = $got->{type} if $got->{type} ne 'transaction';
	check($ops =~ $wanted, "$what: $ops");
	return $got;
}
# The rows of a snapshot.
sub rows_of
{
	my ($client, $id) = @_;
	my @all;
	while (1)
	{
		my $part = $client->await(sub { $_[0]{type} eq 'rows' && $_[0]{id} eq $id });
		push @all, @{ $part->{rows} };
		return @all if !$part->{more};
	}
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

1;
