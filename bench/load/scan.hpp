// Finds the marks in a stream of bytes and keeps the histogram of times. Every row the writers insert carries one
// mark, "^writer:seq^"; '^' occurs nowhere else in what a gateway sends, so one memchr per mark replaces a JSON parser.
// Runs in the client thread of plank-load. Must stay cheaper than any server it measures.
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>

namespace plank::bench {

struct Mark {
	uint32_t writer;
	uint32_t seq;
};

// One message's bytes may come in any pieces: a mark that is cut in two is carried over to the next piece.
class MarkScanner {
 public:
	template <class OnMark>
	void feed(std::string_view bytes, OnMark&& on_mark)
	{
		const char* at = bytes.data();
		const char* const end = at + bytes.size();
		if (open_) {
			const char* close = find(at, end);
			carry(at, close ? close : end);
			if (!close) return;
			on_mark(parse({carry_.data(), carried_}));
			open_ = false;
			at = close + 1;
		}
		while (const char* open = find(at, end)) {
			const char* close = find(open + 1, std::min(end, open + 1 + kLongest));
			if (!close) {
				open_ = true;
				carried_ = 0;
				carry(open + 1, end);
				return;
			}
			on_mark(parse({open + 1, static_cast<size_t>(close - open - 1)}));
			at = close + 1;
		}
	}

	// True inside a mark: at the end of a message that is an error.
	bool open() const noexcept { return open_; }

 private:
	static constexpr size_t kLongest = 24;

	static const char* find(const char* at, const char* end)
	{
		return at == end ? nullptr : static_cast<const char*>(std::memchr(at, '^', static_cast<size_t>(end - at)));
	}

	void carry(const char* from, const char* to)
	{
		const auto size = static_cast<size_t>(to - from);
		if (carried_ + size > kLongest)
			throw std::runtime_error("a mark without an end: " + std::string(from, std::min<size_t>(size, 80)));
		std::memcpy(carry_.data() + carried_, from, size);
		carried_ += static_cast<uint8_t>(size);
	}

	static Mark parse(std::string_view text)
	{
		Mark mark{};
		const char* const end = text.data() + text.size();
		auto first = std::from_chars(text.data(), end, mark.writer);
		if (first.ec == std::errc() && first.ptr != end && *first.ptr == ':') {
			auto second = std::from_chars(first.ptr + 1, end, mark.seq);
			if (second.ec == std::errc() && second.ptr == end) return mark;
		}
		throw std::runtime_error("not a mark: " + std::string(text));
	}

	std::array<char, kLongest> carry_;
	uint8_t carried_ = 0;
	bool open_ = false;
};

// Log-linear: 128 buckets for each power of two, so a percentile is exact to 0.8 %.
class Histogram {
 public:
	void add(int64_t ns) noexcept
	{
		const auto value = static_cast<uint64_t>(std::max<int64_t>(ns, 0));
		++buckets_[bucket_of(value)];
		++count_;
		max_ = std::max(max_, value);
	}

	uint64_t count() const noexcept { return count_; }
	uint64_t max() const noexcept { return max_; }

	uint64_t percentile(double p) const noexcept
	{
		auto left = static_cast<uint64_t>(p / 100 * static_cast<double>(count_));
		for (size_t i = 0; i < buckets_.size(); ++i) {
			if (buckets_[i] > left) return value_of(i);
			left -= buckets_[i];
		}
		return max_;
	}

	void merge(const Histogram& other) noexcept
	{
		for (size_t i = 0; i < buckets_.size(); ++i)
			buckets_[i] += other.buckets_[i];
		count_ += other.count_;
		max_ = std::max(max_, other.max_);
	}

	void clear() noexcept { *this = Histogram(); }

 private:
	static constexpr unsigned kBits = 7;

	static size_t bucket_of(uint64_t value) noexcept
	{
		const unsigned width = static_cast<unsigned>(std::bit_width(value));
		if (width <= kBits + 1) return value;
		const unsigned shift = width - kBits - 1;
		return (static_cast<size_t>(shift) << kBits) + (value >> shift);
	}

	static uint64_t value_of(size_t bucket) noexcept
	{
		if (bucket < (2U << kBits)) return bucket;
		const size_t shift = (bucket >> kBits) - 1;
		return ((bucket & ((1U << kBits) - 1)) | (1U << kBits)) << shift;
	}

	std::array<uint64_t, 58 << kBits> buckets_{};
	uint64_t count_ = 0;
	uint64_t max_ = 0;
};

// As a JSON object.
inline std::string percentiles(const Histogram& times)
{
	return "{\"count\":" + std::to_string(times.count()) + ",\"p50\":" + std::to_string(times.percentile(50)) +
	       ",\"p90\":" + std::to_string(times.percentile(90)) + ",\"p99\":" + std::to_string(times.percentile(99)) +
	       ",\"max\":" + std::to_string(times.max()) + "}";
}

}  // namespace plank::bench
