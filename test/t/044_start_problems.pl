# What keeps a worker from starting is said once, with a hint, and never keeps the server from starting.
use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use IO::Socket::INET;
use PostgreSQL::Test::Utils;
use Test::More;
use PlankCluster;

my $node = PlankCluster->create('main', bare => 1);

# Values that cannot be understood are refused at start: nothing would be served as asked.
sub refused
{
	my ($line, $message, $hint) = @_;
	$node->append_conf('postgresql.conf', $line);
	my $mark = -e $node->logfile ? $node->log_mark : 0;
	ok(!$node->start(fail_ok => 1), "$line does not start");
	like($node->log_since($mark), qr/$message/, 'the log says why');
	like($node->log_since($mark), qr/HINT:  .*$hint/, 'and what to do');
	$line =~ /(\S+)/;
	$node->adjust_conf('postgresql.conf', $1, undef);
	return;
}
$node->append_conf('postgresql.conf', "plank.transport = 'wal'\nmax_wal_senders = 0");
refused('wal_level = minimal', q{FATAL: .*plank.transport = 'wal' needs "wal_level"}, 'wal_level.*replica.*plank.transport.*notify');
$node->adjust_conf('postgresql.conf', $_, undef) for 'plank.transport', 'max_wal_senders';
my $hint = 'app:8432, analytics:8433';
refused(q{plank.databases = 'a:b'}, 'A port is a number', $hint);
refused(q{plank.databases = 'a:70000'}, 'A port is a number', $hint);
refused(q{plank.databases = 'a:1 b'}, 'separated by commas', $hint);
refused(q{plank.databases = 'a,,b'}, 'name is empty', $hint);
refused(q{plank.databases = 'a, '}, 'name is empty', $hint);
refused(q{plank.databases = '"a'}, 'double quote is not closed', $hint);
refused(q{plank.databases = 'a, "a"'}, 'named twice', $hint);
refused('plank.databases = \'' . ('x' x 64) . '\'', 'name is too long', $hint);
refused('plank.databases = \'' . join(',', map { "d$_" } 1 .. 65) . '\'', 'too many databases', $hint);

# A port that another program has.
my $holder = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $node->plank_port, Listen => 1) or die "port: $!";
$node->start;
$node->wait_for_line(qr/could not listen on address "127\.0\.0\.1", port \d+: Address already in use/, 0);
like($node->log_since(0), qr/WARNING: .*Address already in use\n.*HINT:  .*plank\.port/, 'a taken port is a WARNING with a HINT');
$node->safe_psql('postgres', q{CREATE ROLE web; CREATE EXTENSION plank; CREATE TABLE items (id int PRIMARY KEY, name text);
	GRANT SELECT ON items TO web; SELECT plank.track('items')});
is($node->safe_psql('postgres', q{SELECT plank.wait_until_ready('200ms')}), 'f', 'wait_until_ready waits for the port too');
$node->insert(1);
sleep 6;
is($node->log_count(qr/could not listen/), 1, 'it is said once, not at every attempt');
close $holder;
$node->wait_until_ready;
my $client = $node->watcher;
$node->insert(2);
is($client->transaction->{changes}[0]{new}{id}, 2, 'and served when the port is free');

# An address that this machine does not have, beside one that it has.
my $mark = $node->log_mark;
$node->append_conf('postgresql.conf', q{plank.listen_addresses = '127.0.0.1, 192.0.2.1'});
$node->reload;
$node->wait_for_line(qr/WARNING: .*could not listen on address "192\.0\.2\.1".*\n.*HINT/, $mark);
ok($client->is_open, 'an address that is not there costs no client');
ok($node->client, 'and the others are served');
$node->stop;

# A port that is meant to speak TLS must not speak anything else: it is not listened on until the files can be used.
my ($certificate, $key) = map { $node->basedir . "/tls.$_" } qw(crt key);
$node->append_conf('postgresql.conf', "plank.listen_addresses = '127.0.0.1'\nplank.ssl_cert_file = '$certificate'\nplank.ssl_key_file = '$key'");
$mark = $node->log_mark;
$node->start;
$node->wait_for_line(qr/WARNING: .*tls\.crt" cannot be used for TLS: No such file or directory\n.*DETAIL: .*not listened on.*\n.*HINT: .*plank\.ssl_cert_file/, $mark);
ok(!IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $node->plank_port), 'nobody listens');
system('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=plank',
	'-keyout', $key, '-out', $certificate) == 0 or die 'openssl';
chmod 0600, $key;
is($node->safe_psql('postgres', q{SELECT plank.wait_until_ready('180s')}), 't', 'and it is served when they can be used, without a reload');
my $plain = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $node->plank_port) or die "port: $!";
print $plain "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";
like(join('', <$plain>), qr{^HTTP/1\.1 400 .*speaks TLS}s, 'by TLS only');
$node->stop;
$node->adjust_conf('postgresql.conf', $_, undef) for qw(plank.ssl_cert_file plank.ssl_key_file);

# More workers than the server has places for.
$node->append_conf('postgresql.conf', "max_worker_processes = 1\nplank.listen_addresses = '127.0.0.1'");
$mark = $node->log_mark;
$node->start;
like($node->log_since($mark), qr/too many background workers\n.*DETAIL:.*\n.*HINT: .*max_worker_processes/,
	'max_worker_processes exhausted is said with a hint');
$node->insert(3);
is($node->safe_psql('postgres', 'SELECT state FROM plank.stat'), 'down', 'the server works, and plank.stat says down');
is($node->safe_psql('postgres', q{SELECT plank.wait_until_ready('100ms')}), 'f', 'and nobody waits in vain');
$node->stop;
done_testing();
