// Taking a change's record apart into columns. Runs in the worker. Must not call PostgreSQL.
#include "core/row.hpp"

namespace plank::core {

ColumnImage& Row::former(size_t column)
{
	if (!differs_[column]) {
		differs_[column] = 1;
		differences_.push_back(static_cast<uint32_t>(column));
		before_[column] = now_[column];
	}
	return before_[column];
}

void Row::read(const Record& record, const Shape& shape)
{
	const size_t columns = shape.columns.size();
	if (now_.size() < columns) {
		now_.resize(columns);
		before_.resize(columns);
		differs_.resize(columns);
	}
	for (const uint32_t column : differences_)
		differs_[column] = 0;
	differences_.clear();

	Reader reader(record.image);
	for (size_t i = 0; i < columns; ++i)
		now_[i] = {reader.counted(), {}};
	const bool updated = record.op == Op::update;
	// The former texts follow the texts of now, which former() copies.
	const Reader differences = reader;
	if (updated)
		for (uint64_t left = reader.varint(); left > 0; --left) {
			(void)reader.varint();
			(void)reader.counted();
		}
	for (const uint32_t column : shape.texts)
		now_[column].text = reader.counted();
	if (!updated) return;

	Reader json = differences;
	for (uint64_t left = json.varint(); left > 0; --left) {
		const uint64_t column = json.varint();
		former(column).json = json.counted();
	}
	if (shape.texts.empty()) return;
	for (uint64_t left = reader.varint(); left > 0; --left) {
		const uint64_t number = reader.varint();
		former(shape.texts[number]).text = reader.counted();
	}
}

}  // namespace plank::core
