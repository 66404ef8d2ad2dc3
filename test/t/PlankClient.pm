# A WebSocket client of plank.v1 for these tests, with nothing but what Perl brings. It answers pings and reads on while
# it waits; a test that wants a slow client just does not ask.
package PlankClient;
use strict;
use warnings;
use Carp;
use IO::Select;
use IO::Socket::INET;
use JSON::PP;
use Time::HiRes qw(time);

# Seconds that any awaited thing may take, on however busy a machine; a failing test is the only one that waits so long.
our $timeout = $ENV{PG_TEST_TIMEOUT_DEFAULT} || 180;

my $json = JSON::PP->new->utf8;

# Connects and upgrades. Dies with the HTTP status line when that is refused. %options: host; raw (messages are texts as
# they came, for more of them than Perl decodes in time).
sub new
{
	my ($class, $port, %options) = @_;
	my $socket = IO::Socket::INET->new(
		PeerHost => $options{host} // '127.0.0.1',
		PeerPort => $port,
		Proto => 'tcp',
		Timeout => $timeout) or croak "could not connect to port $port: $@";
	my $self = bless { socket => $socket, input => '', text => '', messages => [], raw => $options{raw} }, $class;
	my $host = $options{host} // 'localhost';
	print $socket "GET /ws HTTP/1.1\r\nHost: $host:$port\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	  . "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: plank.v1\r\n\r\n";
	my $end = time + $timeout;
	while ($self->{input} !~ /\r\n\r\n/)
	{
		$self->_read($end - time) or croak "no answer to the upgrade on port $port";
	}
	(my $head, $self->{input}) = split /\r\n\r\n/, $self->{input}, 2;
	my ($status) = $head =~ m{^HTTP/1\.1 (.*)};
	croak "upgrade refused: $status" if $status !~ /^101/;
	$self->_parse;
	return $self;
}

# A client on a port that may not be served yet, or again.
sub reconnect
{
	my ($class, $port, %options) = @_;
	my $end = time + $timeout;
	while (1)
	{
		my $client = eval { $class->new($port, %options) };
		return $client if $client;
		croak $@ if time > $end;
		select undef, undef, undef, 0.05;
	}
}

sub send_text
{
	my ($self, $text) = @_;
	my $length = length $text;
	my $head = $length < 126 ? pack('CC', 0x81, 0x80 | $length)
	  : $length < 65536 ? pack('CCn', 0x81, 0x80 | 126, $length)
	  : pack('CCQ>', 0x81, 0x80 | 127, $length);
	# The mask 0 0 0 0 is a mask.
	$self->_write($head . "\0\0\0\0" . $text);
	return;
}
sub send { my ($self, $message) = @_; $self->send_text($json->encode($message)); return }

# The next message; undef when the time is over or the connection is.
sub next
{
	my ($self, $seconds) = @_;
	my $end = time + ($seconds // $timeout);
	while (!@{ $self->{messages} })
	{
		return if $self->{ended};
		my $left = $end - time;
		return if $left <= 0;
		$self->_read($left);
		$self->_parse;
	}
	return shift @{ $self->{messages} };
}

# The next message that the test asks for, by type or by a function; others before it are dropped. Dies when none comes.
sub await
{
	my ($self, $wanted, $seconds) = @_;
	my $matches = ref $wanted ? $wanted : sub { $_[0]{type} eq $wanted };
	my $end = time + ($seconds // $timeout);
	my $last = 'nothing';
	while (defined(my $message = $self->next($end - time)))
	{
		return $message if $matches->($message);
		$last = substr $json->encode($message), 0, 400;
	}
	my $what = ref $wanted ? 'the message' : $wanted;
	croak $self->{ended} ? "connection ended ($self->{code}) before $what; last came $last" : "$what did not come; last came $last";
}

sub subscribe
{
	my ($self, $id, %fields) = @_;
	$self->send({ type => 'subscribe', id => $id, %fields });
	my $answer = $self->await(sub { ($_[0]{id} // '') eq $id && $_[0]{type} =~ /^(subscribed|error)$/ });
	croak $json->encode($answer) if $answer->{type} eq 'error';
	return $answer;
}

# The answer to a ping: whatever was sent to this client before has come.
sub sync
{
	my ($self) = @_;
	$self->send({ type => 'ping' });
	return $self->await('pong');
}

# All changes of the next transaction, parts put together.
sub transaction
{
	my ($self, $seconds) = @_;
	my $first = $self->await('transaction', $seconds);
	my $part = $first;
	while ($part->{more})
	{
		$part = $self->await('transaction', $seconds);
		push @{ $first->{changes} }, @{ $part->{changes} };
		$first->{position} = $part->{position};
	}
	return $first;
}

# Takes whatever comes without looking at it, until the connection ends.
sub discard
{
	my ($self, $seconds) = @_;
	my $end = time + $seconds;
	while (!$self->{ended} && time < $end) { $self->_read($end - time); $self->{input} = '' }
	return;
}

# The code with which the server closed; 0 when the connection just broke. Undef when it is still open after the time.
# What comes before is not decoded: Perl takes seconds for a megabyte.
sub close_code
{
	my ($self, $seconds) = @_;
	local $self->{raw} = 1;
	my $end = time + ($seconds // $timeout);
	while (!$self->{ended})
	{
		my $left = $end - time;
		return if $left <= 0;
		$self->_read($left);
		$self->_parse;
	}
	return $self->{code};
}
sub is_open { my ($self) = @_; return eval { $self->sync; 1 } // 0 }
sub disconnect { my ($self) = @_; close $self->{socket}; $self->{ended} = 1; $self->{code} //= 0; return }

# Status and body of a plain HTTP request; nothing when nobody listens.
sub http
{
	my ($port, $path) = @_;
	my $socket = IO::Socket::INET->new(PeerHost => '127.0.0.1', PeerPort => $port, Proto => 'tcp') or return;
	print $socket "GET $path HTTP/1.1\r\nHost: localhost:$port\r\nConnection: close\r\n\r\n";
	local $/;
	my $answer = <$socket> // '';
	my ($status, $body) = $answer =~ m{^HTTP/1\.1 (\d+).*?\r\n\r\n(.*)}s or return;
	return ($status, $body);
}

sub _write
{
	my ($self, $bytes) = @_;
	local $SIG{PIPE} = 'IGNORE';
	while (length $bytes)
	{
		my $written = syswrite $self->{socket}, $bytes;
		return if !defined $written;    # the reading end finds out why
		substr($bytes, 0, $written) = '';
	}
	return;
}

sub _read
{
	my ($self, $seconds) = @_;
	return 0 if !IO::Select->new($self->{socket})->can_read($seconds > 0 ? $seconds : 0);
	my $read = sysread $self->{socket}, $self->{input}, 1 << 18, length $self->{input};
	return $read if $read;
	$self->{ended} = 1;
	$self->{code} //= 0;
	return 0;
}

sub _parse
{
	my ($self) = @_;
	my $input = \$self->{input};
	while (length $$input >= 2)
	{
		my ($first, $length) = unpack 'CC', $$input;
		my $head = 2;
		if ($length == 126)    { last if length $$input < 4;  $length = unpack 'n', substr $$input, 2, 2;  $head = 4 }
		elsif ($length == 127) { last if length $$input < 10; $length = unpack 'Q>', substr $$input, 2, 8; $head = 10 }
		last if length $$input < $head + $length;
		my $payload = substr $$input, $head, $length;
		substr($$input, 0, $head + $length) = '';
		my $opcode = $first & 15;
		if ($opcode == 9) { $self->_write(pack('CC', 0x8A, 0x80 | $length) . "\0\0\0\0" . $payload) }
		elsif ($opcode == 8)
		{
			$self->{code} = $length >= 2 ? unpack 'n', $payload : 1005;
			$self->_write(pack('CC', 0x88, 0x80 | $length) . "\0\0\0\0" . $payload);
		}
		elsif ($opcode < 3)
		{
			$self->{text} .= $payload;
			next if !($first & 0x80);
			my $messages = $self->{raw} ? $self->{text} : $json->decode($self->{text});
			$self->{text} = '';
			push @{ $self->{messages} }, ref $messages eq 'ARRAY' ? @$messages : $messages;
		}
	}
	return;
}

1;
