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

	static std::shared_ptr<const Frame> make(std::string_view text, bool binary = false)
	{
		std::string buffer;
		buffer.reserve(kHeadroom + text.size());
		buffer.append(kHeadroom, '\0').append(text);
		return adopt(std::move(buffer), binary);
	}
	// Takes a buffer whose first kHeadroom bytes are free for the header; the rest is the text.
	static std::shared_ptr<const Frame> adopt(std::string&& buffer, bool binary = false)
	{
		return std::shared_ptr<const Frame>(new Frame(std::move(buffer), binary));
	}
	static size_t headroom() noexcept { return kHeadroom; }

	std::string_view text() const noexcept { return std::string_view(buffer_).substr(kHeadroom); }
	size_t size() const noexcept { return buffer_.size() - kHeadroom; }
	bool binary() const noexcept { return binary_; }  // never for plank.v1
	// For the network layer, which writes the header, the same for everybody, before the text.
	std::string& buffer() const noexcept { return buffer_; }

 private:
	Frame(std::string&& buffer, bool binary) : buffer_(std::move(buffer)), binary_(binary) {}
	mutable std::string buffer_;
	bool binary_;
};
using FramePtr = std::shared_ptr<const Frame>;

}  // namespace plank::core
