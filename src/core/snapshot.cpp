// Encoding and decoding what passes between the worker and the processes that read snapshots. Must not call PostgreSQL.
#include "core/snapshot.hpp"

#include <algorithm>
#include <utility>

#include "core/bytes.hpp"

namespace plank::core {

namespace {

// PostgreSQL has at most 1600 columns; a larger number is no request.
constexpr uint64_t kMostColumns = 2000;

bool ended(const Reader& reader) noexcept { return reader.ok() && reader.done(); }

}  // namespace

bool Visibility::sees(uint64_t xid) const noexcept
{
	return xid < xmin || (xid < xmax && !std::binary_search(in_progress.begin(), in_progress.end(), xid));
}

std::string SnapshotRequest::encode() const
{
	std::string out;
	append_varint(out, relation);
	append_varint(out, numbers_as_text ? 1 : 0);
	append_counted(out, condition);
	append_counted(out, role);
	append_counted(out, claims);
	append_varint(out, columns ? columns->size() + 1 : 0);
	if (columns)
		for (const std::string& column : *columns)
			append_counted(out, column);
	return out;
}

std::optional<SnapshotRequest> SnapshotRequest::decode(std::string_view bytes)
{
	SnapshotRequest request;
	Reader reader(bytes);
	const uint64_t relation = reader.varint();
	if (relation > UINT32_MAX) return std::nullopt;
	request.relation = static_cast<uint32_t>(relation);
	request.numbers_as_text = reader.varint() != 0;
	request.condition = reader.counted();
	request.role = reader.counted();
	request.claims = reader.counted();
	const uint64_t columns = reader.varint();
	if (!reader.ok() || columns > kMostColumns + 1) return std::nullopt;
	if (columns > 0) {
		std::vector<std::string> names;
		for (uint64_t i = 1; i < columns && reader.ok(); ++i)
			names.emplace_back(reader.counted());
		request.columns = std::make_shared<const std::vector<std::string>>(std::move(names));
	}
	if (!ended(reader)) return std::nullopt;
	return request;
}

std::string SnapshotHeader::encode() const
{
	std::string out;
	append_varint(out, visibility.xmin);
	append_varint(out, visibility.xmax);
	append_varint(out, visibility.in_progress.size());
	// Ascending, so that the steps are small numbers.
	uint64_t former = visibility.xmin;
	for (const uint64_t xid : visibility.in_progress)
		append_varint(out, xid - std::exchange(former, xid));
	append_varint(out, wal_end);
	append_counted(out, shape->encode());
	return out;
}

std::optional<SnapshotHeader> SnapshotHeader::decode(std::string_view bytes)
{
	SnapshotHeader header;
	Reader reader(bytes);
	header.visibility.xmin = reader.varint();
	header.visibility.xmax = reader.varint();
	const uint64_t count = reader.varint();
	// Each takes a byte at least: a larger number must not reserve memory.
	if (!reader.ok() || count > reader.rest().size()) return std::nullopt;
	header.visibility.in_progress.reserve(count);
	uint64_t xid = header.visibility.xmin;
	for (uint64_t i = 0; i < count; ++i)
		header.visibility.in_progress.push_back(xid += reader.varint());
	header.wal_end = reader.varint();
	header.shape = Shape::decode(reader.counted());
	if (!ended(reader) || !header.shape) return std::nullopt;
	return header;
}

std::string SnapshotFailure::encode() const
{
	std::string out;
	append_varint(out, retry ? 1 : 0);
	append_counted(out, code);
	append_counted(out, message);
	append_counted(out, detail);
	return out;
}

std::optional<SnapshotFailure> SnapshotFailure::decode(std::string_view bytes)
{
	SnapshotFailure failure;
	Reader reader(bytes);
	failure.retry = reader.varint() != 0;
	failure.code = reader.counted();
	failure.message = reader.counted();
	failure.detail = reader.counted();
	if (!ended(reader)) return std::nullopt;
	return failure;
}

}  // namespace plank::core
