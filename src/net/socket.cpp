// See socket.hpp.
#include "net/socket.hpp"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstddef>

namespace plank::net {

uint64_t progress_of(int fd, uint64_t sent) noexcept
{
	tcp_info info{};
	socklen_t length = sizeof info;
	constexpr socklen_t needed = offsetof(tcp_info, tcpi_bytes_acked) + sizeof info.tcpi_bytes_acked;
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 && length >= needed && info.tcpi_bytes_acked > 0)
		return info.tcpi_bytes_acked;
	int queued = 0;
	if (ioctl(fd, SIOCOUTQ, &queued) != 0) return sent;
	return sent - static_cast<uint64_t>(queued);
}

}  // namespace plank::net
