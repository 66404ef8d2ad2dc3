// Holds PostgreSQL's output settings at protocol rule 8's values while rows are printed. Runs in ordinary sessions.
// It writes the variables and leaves the settings' own machinery alone: a SET takes microseconds, this nanoseconds. So
// nothing may read or change these settings by name meanwhile, but for functions of types (json_foreign.cpp).
#include "backend/output_settings.hpp"

#include "pg/values.hpp"

#include "backend/json_output.hpp"

namespace plank::backend {
namespace {

// The server loads GMT before any session exists, so this only looks it up. ISO output never prints a zone's name.
pg_tz* utc()
{
	static pg_tz* zone = nullptr;
	if (!zone) zone = pg_tzset("GMT");
	return zone;
}

}  // namespace

void pin_output_settings()
{
	DateStyle = USE_ISO_DATES;
	DateOrder = DATEORDER_MDY;
	IntervalStyle = INTSTYLE_POSTGRES;
	bytea_output = BYTEA_OUTPUT_HEX;
	extra_float_digits = 1;
	quote_all_identifiers = false;
	session_timezone = utc();
}

OutputSettings::OutputSettings() noexcept
    : date_style_(DateStyle),
      date_order_(DateOrder),
      interval_style_(IntervalStyle),
      bytea_output_(bytea_output),
      extra_float_digits_(extra_float_digits),
      quote_all_identifiers_(quote_all_identifiers),
      time_zone_(session_timezone)
{
	pin_output_settings();
}

OutputSettings::~OutputSettings()
{
	DateStyle = date_style_;
	DateOrder = date_order_;
	IntervalStyle = interval_style_;
	bytea_output = bytea_output_;
	extra_float_digits = extra_float_digits_;
	quote_all_identifiers = quote_all_identifiers_;
	session_timezone = static_cast<pg_tz*>(time_zone_);
}

}  // namespace plank::backend
