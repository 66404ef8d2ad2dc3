// A transaction's records as they are kept: one piece when they came at once, several when they came in chunks, in memory
// or in a mapped file. Runs in the worker. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plank::core {

// Pieces stand in the order of the records; no record lies across two of them.
class Body {
 public:
	struct Piece {
		size_t begin;  // of its first byte, within the body
		std::string_view bytes;
	};

	// A piece in memory: `text` from `from` on.
	void add(std::string&& text, size_t from = 0)
	{
		text.shrink_to_fit();
		auto owner = std::make_shared<const std::string>(std::move(text));
		const std::string_view bytes = std::string_view(*owner).substr(from);
		memory_ += owner->capacity();
		append(bytes, std::move(owner));
	}
	// A piece of a file that `owner` keeps mapped.
	void add_mapped(std::shared_ptr<const void> owner, std::string_view bytes)
	{
		mapped_ += bytes.size();
		if (owners_.empty() || owners_.back() != owner)
			append(bytes, std::move(owner));
		else
			append(bytes, nullptr);
	}

	size_t size() const noexcept { return size_; }
	bool empty() const noexcept { return size_ == 0; }
	const std::vector<Piece>& pieces() const noexcept { return pieces_; }
	// Bytes that it holds in memory and in files.
	size_t memory() const noexcept { return memory_ + pieces_.capacity() * sizeof(Piece); }
	size_t mapped() const noexcept { return mapped_; }

	// Index of the piece that holds the record at `offset`; pieces().size() at the end.
	size_t piece_at(size_t offset) const noexcept
	{
		const auto after = std::upper_bound(pieces_.begin(), pieces_.end(), offset,
		                                    [](size_t at, const Piece& piece) { return at < piece.begin; });
		return offset >= size_ ? pieces_.size() : static_cast<size_t>(after - pieces_.begin()) - 1;
	}

 private:
	void append(std::string_view bytes, std::shared_ptr<const void> owner)
	{
		if (owner) owners_.push_back(std::move(owner));
		if (bytes.empty()) return;
		pieces_.push_back({size_, bytes});
		size_ += bytes.size();
	}

	std::vector<Piece> pieces_;
	std::vector<std::shared_ptr<const void>> owners_;
	size_t size_ = 0, memory_ = 0, mapped_ = 0;
};

}  // namespace plank::core
