// plank.send, plank.expose and plank.unexpose. Runs in ordinary sessions, with the caller's own privileges: the table of
// exposed channels belongs to the database's owner through pg_database_owner.
#include "core/capture_arguments.hpp"
#include "core/record.hpp"

#include "backend/transaction_buffer.hpp"
#include "pg/catalog.hpp"
#include "pg/guard.hpp"

namespace plank::backend {

namespace {

// These may ereport: call them inside pg::call.

const char* channel_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0)) ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("channel must not be null")));
	const char* const channel = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (!core::is_channel_name(channel))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("\"%s\" is not a channel's name", channel),
		                errhint("A channel has 1 to 63 bytes and does not begin with \"plank:\".")));
	return channel;
}

// The text in UTF-8. In a database of encoding SQL_ASCII bytes may be anything; what is no UTF-8 becomes U+FFFD.
const char* in_utf8(const char* text)
{
	const int length = static_cast<int>(strlen(text));
	if (GetDatabaseEncoding() != PG_SQL_ASCII) return pg_server_to_any(text, length, PG_UTF8);
	StringInfoData clean;
	initStringInfo(&clean);
	for (int i = 0; i < length;) {
		const auto* const at = reinterpret_cast<const unsigned char*>(text) + i;
		const int size = pg_utf_mblen(at);
		if (i + size <= length && pg_utf8_islegal(at, size)) {
			appendBinaryStringInfo(&clean, text + i, size);
			i += size;
		} else {
			appendStringInfoString(&clean, "\xEF\xBF\xBD");
			++i;
		}
	}
	return clean.data;
}

void change_channels(const char* statement, int count, Oid* types, Datum* values, const char* nulls, int expected)
{
	const int result = SPI_execute_with_args(statement, count, types, values, nulls, false, 0);
	if (result != expected) elog(ERROR, "plank: %s returned %s", statement, SPI_result_code_string(result));
}

}  // namespace

}  // namespace plank::backend

using namespace plank;

extern "C" {

PG_FUNCTION_INFO_V1(plank_send);
PG_FUNCTION_INFO_V1(plank_expose);
PG_FUNCTION_INFO_V1(plank_unexpose);
PG_FUNCTION_INFO_V1(plank_channel_changed);

PGDLLEXPORT Datum plank_send(PG_FUNCTION_ARGS)
{
	return pg::entry([&]() -> Datum {
		const char* channel = nullptr;
		const char* payload = "null";
		pg::call([&] {
			// A standby has nobody who could tell its clients.
			PreventCommandDuringRecovery("plank.send()");
			channel = backend::in_utf8(backend::channel_argument(fcinfo));
			if (PG_ARGISNULL(1)) return;
			Jsonb* const json = PG_GETARG_JSONB_P(1);
			payload = backend::in_utf8(JsonbToCString(nullptr, &json->root, VARSIZE(json)));
		});
		backend::add_message(channel, payload);
		PG_RETURN_VOID();
	});
}

PGDLLEXPORT Datum plank_expose(PG_FUNCTION_ARGS)
{
	return pg::entry([&] {
		return pg::call([&]() -> Datum {
			const char* const channel = backend::channel_argument(fcinfo);
			const Oid role = PG_ARGISNULL(1) ? InvalidOid : PG_GETARG_OID(1);
			if (!PG_ARGISNULL(1) && !SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)))
				ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("role with OID %u does not exist", role)));
			Oid types[] = {TEXTOID, REGROLEOID};
			Datum values[] = {CStringGetTextDatum(channel), ObjectIdGetDatum(role)};
			const char nulls[] = {' ', PG_ARGISNULL(1) ? 'n' : ' '};
			SPI_connect();
			backend::change_channels("INSERT INTO plank.channel (channel, role) VALUES ($1, $2) ON CONFLICT DO NOTHING",
			                         2, types, values, nulls, SPI_OK_INSERT);
			SPI_finish();
			PG_RETURN_VOID();
		});
	});
}

PGDLLEXPORT Datum plank_unexpose(PG_FUNCTION_ARGS)
{
	return pg::entry([&] {
		return pg::call([&]() -> Datum {
			const char* const channel = backend::channel_argument(fcinfo);
			Oid types[] = {TEXTOID};
			Datum values[] = {CStringGetTextDatum(channel)};
			SPI_connect();
			backend::change_channels("DELETE FROM plank.channel WHERE channel OPERATOR(pg_catalog.=) $1", 1, types,
			                         values, nullptr, SPI_OK_DELETE);
			const bool was_exposed = SPI_processed > 0;
			SPI_finish();
			PG_RETURN_BOOL(was_exposed);
		});
	});
}

PGDLLEXPORT Datum plank_channel_changed(PG_FUNCTION_ARGS)
{
	return pg::entry([&] {
		if (!CALLED_AS_TRIGGER(fcinfo))
			pg::raise(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED, "plank._channel_changed must be called as a trigger");
		backend::note_catalog_change();
		return PointerGetDatum(nullptr);
	});
}

}  // extern "C"
