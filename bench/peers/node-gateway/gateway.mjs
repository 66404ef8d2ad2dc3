// The gateway a user would otherwise write: one LISTEN connection, and every notification sent as it is to every
// WebSocket client. Nothing is parsed, compressed or copied per client. Prints its port when it is listening.
//   DATABASE_URL or PGHOST … as pg reads them; CHANNEL (rows); PORT (0: any free one)
import pg from 'pg';
import { WebSocketServer, WebSocket } from 'ws';

const database = new pg.Client();
await database.connect();

const server = new WebSocketServer({
	host: '127.0.0.1',
	port: Number(process.env.PORT ?? 0),
	perMessageDeflate: false,
	backlog: 4096,
});

database.on('notification', ({ payload }) => {
	for (const client of server.clients) {
		if (client.readyState === WebSocket.OPEN) client.send(payload);
	}
});
database.on('error', (error) => {
	console.error(error.message);
	process.exit(1);
});

// A client that vanishes is no reason to stop.
server.on('connection', (client) => client.on('error', () => client.terminate()));

await database.query(`LISTEN ${database.escapeIdentifier(process.env.CHANNEL ?? 'rows')}`);
if (server.address() === null) await new Promise((resolve) => server.once('listening', resolve));
console.log(JSON.stringify({ port: server.address().port }));
process.on('SIGTERM', () => process.exit(0));
