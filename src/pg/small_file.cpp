// See small_file.hpp.
#include "pg/small_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <cstring>
#include <ctime>

namespace plank::pg {

namespace {

constexpr int64_t kSecond = 1'000'000'000;

int64_t nanoseconds(const timespec& time) noexcept { return int64_t{time.tv_sec} * kSecond + time.tv_nsec; }

std::string reason(int error)
{
	char text[256];
	return strerror_r(error, text, sizeof text);
}

}  // namespace

bool FileStamp::settled() const noexcept
{
	timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	const int64_t age = nanoseconds(now) - changed;
	return !exists || age > kSecond || age < -kSecond;
}

FileStamp stamp_of(const std::string& path) noexcept
{
	FileStamp stamp;
	struct stat status;
	if (path.empty() || stat(path.c_str(), &status) != 0) return stamp;
	stamp.exists = true;
	stamp.device = status.st_dev;
	stamp.inode = status.st_ino;
	stamp.size = static_cast<uint64_t>(status.st_size);
	stamp.modified = nanoseconds(status.st_mtim);
	stamp.changed = nanoseconds(status.st_ctim);
	return stamp;
}

SmallFile read_small_file(const std::string& path, size_t limit)
{
	SmallFile file;
	// Without O_NONBLOCK a FIFO would hold the process up for ever.
	const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (descriptor < 0) {
		file.error = reason(errno);
		return file;
	}
	struct stat status;
	if (fstat(descriptor, &status) != 0)
		file.error = reason(errno);
	else if (!S_ISREG(status.st_mode))
		file.error = "it is not a regular file";
	else
		file.open_to_others = (status.st_mode & S_IROTH) != 0;
	char buffer[8192];
	while (file.error.empty()) {
		const ssize_t got = read(descriptor, buffer, sizeof buffer);
		if (got < 0 && errno == EINTR) continue;
		if (got < 0) file.error = reason(errno);
		if (got <= 0) break;
		file.content.append(buffer, static_cast<size_t>(got));
		if (file.content.size() > limit) file.error = "it is too large";
	}
	close(descriptor);
	memset(buffer, 0, sizeof buffer);
	return file;
}

}  // namespace plank::pg
