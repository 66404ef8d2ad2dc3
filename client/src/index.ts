// What `plank.js` exports.

declare const PLANK_VERSION: string;

/** This library's version. */
export const version: string = PLANK_VERSION;

export { connect, Plank } from './plank.js';
export type { ConnectOptions, PlankEvents } from './plank.js';
export { PlankError } from './errors.js';
export type { ErrorParts } from './errors.js';
export { Mirror } from './apply.js';
export type { ApplicableChange, MirrorOptions } from './apply.js';
export type { Clock, ConnectionOptions, ConnectionState, ConnectionStatus, Token } from './connection.js';
export type { Listener } from './events.js';
export type { OrderBy } from './order.js';
export { LiveRows } from './rows.js';
export type { LiveOptions, RowsEvents, RowsInfo, RowsListener, RowsOptions, RowsState } from './rows.js';
export { parseFrame } from './protocol.js';
export type {
	AuthenticatedMessage, ChannelOptions, ClientMessage, Column, Json, Numbers, Operation, Row, ServerMessage, TableInfo, TableOptions,
	TransactionMessage, WelcomeMessage,
} from './protocol.js';
export type { WebSocketConstructor, WebSocketLike } from './socket.js';
export type { ChannelMessage, Change, Transaction, TransactionFacts } from './transaction.js';
export type { Channel, ChannelEvents, CommonEvents, Reset, Subscribed, Table, TableEvents, Watch, WatchState } from './watch.js';
