// Bytes ready to be sent as one text message, shared by every client that gets them.
// Runs in the worker. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace plank::core {

// The text is preceded by headroom that the network layer writes its header into, so that one frame goes to any number
// of connections without a copy. The text is immutable once built.
class Frame {
 public:
	static constexpr size_t kHeadroom = 16;  // LWS_PRE; net/ asserts it

	static std::shared_ptr<const Frame> make(std::string_view text)
	{
		std::string buffer;
		buffer.reserve(kHeadroom + text.size());
		buffer.append(kHeadroom, '\0').append(text);
		return adopt(std::move(buffer));
	}
	// Takes a buffer whose first kHeadroom bytes are free for the header; the rest is the text.
	static std::shared_ptr<const Frame> adopt(std::string&& buffer)
	{
		return std::shared_ptr<const Frame>(new Frame(std::move(buffer)));
	}
	static size_t headroom() noexcept { return kHeadroom; }

	std::string_view text() const noexcept { return std::string_view(buffer_).substr(kHeadroom); }
	size_t size() const noexcept { return buffer_.size() - kHeadroom; }
	// For the network layer, which writes headers before the bytes it sends and restores what it overwrote.
	std::string& buffer() const noexcept { return buffer_; }

 private:
	explicit Frame(std::string&& buffer) : buffer_(std::move(buffer)) {}
	mutable std::string buffer_;
};
using FramePtr = std::shared_ptr<const Frame>;

}  // namespace plank::core
