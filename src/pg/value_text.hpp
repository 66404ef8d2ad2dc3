// Which values are told apart by more than their JSON, and the text that changes carry beside it for them: what the
// capture side and whoever rebuilds typed values from a change agree on. Runs in sessions and in the worker, inside a
// transaction and pg::call: everything may ereport.
//
// A text is empty, or '=' and then, in the database's encoding and under the settings of protocol.md rule 8:
//   xml, "char"                the value's own bytes
//   regclass and its like      the OID
//   all other types            what the type's output function prints
#pragma once

#include <cstdint>

#include "pg/postgres.hpp"

namespace plank::pg {

constexpr char kTextMark = '=';

enum class TextNeed : uint8_t {
	never,      // JSON is enough
	sometimes,  // an empty text: JSON is enough for this value
	always,     // an empty text: the type's output function failed, the value is unknown
};
TextNeed text_need(Oid type);

// Types whose values are OIDs that print as names.
bool prints_as_name(Oid type);

// Whether a value of the type, or an element or bound inside it, is money: its text depends on lc_monetary.
bool contains_money(Oid type);

}  // namespace plank::pg
