// What the kernel knows of a TCP socket. Apart, because its headers and libwebsockets' do not go together.
#pragma once
#ifdef POSTGRES_H
#error "net/ must not see PostgreSQL"
#endif

#include <cstdint>

namespace plank::net {

// A number that changes whenever the peer has taken a byte: the count of bytes it has acknowledged; where that is not
// kept, the length of the send queue. `sent` is what was given to the socket so far.
uint64_t progress_of(int fd, uint64_t sent) noexcept;

}  // namespace plank::net
