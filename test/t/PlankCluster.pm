# A PostgreSQL cluster with Plank preloaded, and what most of these tests ask of it.
package PlankCluster;
use strict;
use warnings;
use parent -norequire, 'PostgreSQL::Test::Cluster';
use Carp;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time);
use PlankClient;

# Started, with the extension, the role web for clients and the table items in database postgres, and its worker ready.
# %options: conf (lines of postgresql.conf), bare (do not start).
sub create
{
	my ($class, $name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	bless $node, $class;
	$node->init(extra => [ '--no-locale', '--encoding=UTF8' ]);
	# The next one is a second database's, where a test has one that it gives no port.
	my $next = 0;
	while ($next != ($node->{plank_port} // 0) + 1)
	{
		$node->{plank_port} = $next || PostgreSQL::Test::Cluster::get_free_port();
		$next = PostgreSQL::Test::Cluster::get_free_port();
	}
	$node->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = 'plank'
plank.port = $node->{plank_port}
plank.listen_addresses = '127.0.0.1'
plank.anonymous_role = 'web'
plank.ping_interval = '1h'    # clients answer when they are asked for messages
restart_after_crash = on
log_checkpoints = off
CONF
	$node->append_conf('postgresql.conf', $options{conf}) if $options{conf};
	return $node if $options{bare};
	$node->start;
	$node->set_up('postgres');
	return $node;
}

# A primary of the transport wal, and a hot standby that streams from it; both ready. %options: conf (both), standby_conf.
sub create_pair
{
	my ($class, %options) = @_;
	my $primary = $class->create('primary', bare => 1, conf => "plank.transport = wal\nwal_keep_size = 256MB\n" . ($options{conf} // ''));
	# Streaming needs what init left out.
	$primary->append_conf('postgresql.conf', "wal_level = replica\nmax_wal_senders = 5\nhot_standby = on\n");
	$primary->append_conf('pg_hba.conf', "local replication all trust\n");
	$primary->start;
	$primary->set_up('postgres');
	$primary->backup('base');
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	bless $standby, $class;
	$standby->init_from_backup($primary, 'base', has_streaming => 1);
	$standby->{plank_port} = PostgreSQL::Test::Cluster::get_free_port();
	$standby->append_conf('postgresql.conf', "plank.port = $standby->{plank_port}\n" . ($options{standby_conf} // ''));
	$standby->start;
	$standby->wait_until_ready;
	return ($primary, $standby);
}

sub set_up
{
	my ($node, $database) = @_;
	$node->safe_psql('postgres', 'CREATE ROLE web') if $database eq 'postgres';
	$node->safe_psql($database, <<'SQL');
CREATE EXTENSION plank;
CREATE TABLE items (id int PRIMARY KEY, name text);
GRANT SELECT ON items TO web;
SELECT plank.track('items');
SQL
	$node->wait_until_ready($database);
	return;
}

sub plank_port { return $_[0]->{plank_port} }
sub client { my ($node, %options) = @_; return PlankClient->new($node->{plank_port}, %options) }
sub reconnect { my ($node, %options) = @_; return PlankClient->reconnect($node->{plank_port}, %options) }

# A client that watches items.
sub watcher
{
	my ($node) = @_;
	my $client = $node->reconnect;
	$client->subscribe('items', table => 'items');
	return $client;
}

# Also while the server recovers from a crash.
sub wait_until_ready
{
	my ($node, $database) = @_;
	$node->wait_for("the worker of " . ($database // 'postgres'), sub {
		my ($status, $answer) = $node->psql($database // 'postgres', q{SELECT plank.wait_until_ready('20s')}, on_error_stop => 0);
		return defined $answer && $answer eq 't';
	});
	return;
}

# Asks again until it is true.
sub wait_for
{
	my ($node, $what, $question) = @_;
	my $end = time + $PlankClient::timeout;
	while (1)
	{
		my $answer = $question->();
		return $answer if $answer;
		croak "$what did not happen" if time > $end;
		select undef, undef, undef, 0.05;
	}
}

sub worker_pid
{
	my ($node, $database) = @_;
	return $node->safe_psql('postgres', sprintf(
			q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'plank worker' AND datname = '%s'}, $database // 'postgres'));
}


# Ends the worker as an administrator does and waits until it has gone: until then it may take clients, and lose them.
sub end_worker
{
	my ($node, $pid) = @_;
	$node->wait_for('a worker', sub { $pid = $node->worker_pid }) if !$pid;
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	$node->wait_for("the end of worker $pid", sub { !process_lives($pid) });
	return;
}

# Sessions live as long as their test, so the limit is each query's.
sub background_psql
{
	my ($node, @arguments) = @_;
	my $session = $node->SUPER::background_psql(@arguments);
	$session->set_query_timer_restart;
	return $session;
}

# After the postmaster was killed: what is left of the former server ends by itself, and until then no other can start.
sub start_again
{
	my ($node) = @_;
	$node->wait_for('a start', sub {
		my $started = $node->start(fail_ok => 1);
		$node->{_pid} = undef if !$started;    # it has read the former one's file
		return $started;
	});
	return;
}

sub insert { my ($node, $id, $name) = @_; $node->safe_psql('postgres', sprintf q{INSERT INTO items VALUES (%d, '%s')}, $id, $name // 'x'); return }

# Changes a setting in postgresql.conf (undef: removes it) and reloads; tells where the log stood before. The file is
# replaced as a whole: a process that is still about an earlier reload would take half of one for all there is.
sub set
{
	my ($node, $name, $value) = @_;
	my $mark = $node->log_mark;
	my $file = $node->data_dir . '/postgresql.conf';
	my @lines = grep { !/^\s*\Q$name\E\W/ } split /^/, slurp_file($file);
	push @lines, "$name = $value\n" if defined $value;
	unlink "$file.new";
	append_to_file("$file.new", join '', @lines);
	rename "$file.new", $file or die "postgresql.conf: $!";
	$node->reload;
	return $mark;
}

# The server log, from a place that log_mark told on.
sub log_mark { return -s $_[0]->logfile }
sub log_since { my ($node, $mark) = @_; return substr slurp_file($node->logfile), $mark // 0 }
sub log_count { my ($node, $pattern, $mark) = @_; my $count = () = $node->log_since($mark) =~ /$pattern/g; return $count }
sub wait_for_line { my ($node, $pattern, $mark) = @_; return $node->wait_for("$pattern in the log", sub { $node->log_since($mark) =~ $pattern }) }

# A zombie has ended; the file goes with the process, at any time.
sub process_lives
{
	my ($pid) = @_;
	my $status = kill(0, $pid) ? eval { slurp_file("/proc/$pid/stat") } : undef;
	return $status && $status !~ /\) [ZX] / ? 1 : 0;
}

# Resident memory of a process that is its own, in kB: mapped files do not count.
sub memory_of { my ($pid) = @_; my ($size) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+)/m; return $size }

1;
