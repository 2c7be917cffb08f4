// A mail server that a test runs (SMTP: RFC 5321, STARTTLS, AUTH), a proxy, and the program that sends mails as the
// server does (SKERRY_MAIL_TOOL).
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import readline from 'node:readline';
import tls from 'node:tls';
import { patient } from './wait.mjs';

const host = '127.0.0.1';
const listen = (server, port) => new Promise((resolve, reject) => server.once('error', reject).listen(port, host, resolve));

/** One client of MailServer. */
class Session {
  constructor(server, socket, secure) {
    Object.assign(this, { server, secure, user: undefined, password: undefined, from: undefined, to: [], data: undefined });
    this.attach(socket);
    this.reply(server.answer?.('', this) ?? '220 mail.test ready');
  }
  attach(socket) {
    this.socket = socket;
    this.rest = '';
    this.socket.on('error', () => {});
    this.socket.on('data', (chunk) => this.read(chunk.toString('latin1')));
  }
  reply(text) {
    if (text) this.socket.write(`${text}\r\n`, 'latin1');
  }
  read(text) {
    this.rest += text;
    for (let end; (end = this.rest.indexOf('\r\n')) >= 0; ) {
      const line = this.rest.slice(0, end);
      this.rest = this.rest.slice(end + 2);
      this.line(line);
    }
  }
  line(line) {
    if (this.data !== undefined) {
      if (line !== '.') return void this.data.push(line.replace(/^\./, ''));
      const mail = { from: this.from, to: this.to, text: this.data.map((line) => `${line}\r\n`).join(''), secure: this.secure, user: this.user, password: this.password };
      this.data = undefined;
      const answer = this.server.answer?.('.', this);
      if (answer === undefined) this.server.mails.push(mail);
      return this.reply(answer ?? '250 taken');
    }
    if (this.awaiting) return this.signIn(line);
    this.server.commands.push(line);
    const verb = line.split(' ')[0].toUpperCase();
    const answer = this.server.answer?.(verb, this, line);
    if (answer !== undefined) return this.reply(answer);
    this[verb] ? this[verb](line) : this.reply('500 what?');
  }
  signIn(encoded) {
    const [, user, password] = Buffer.from(encoded, 'base64').toString().split('\0');
    this.awaiting = false;
    Object.assign(this, { user, password });
    const { auth } = this.server;
    this.reply(user === auth.user && password === auth.password ? '235 welcome' : '535 no');
  }
  EHLO() {
    const lines = ['mail.test', 'SIZE 1000000'];
    if (this.server.certificate && !this.secure) lines.push('STARTTLS');
    if (this.server.auth && (this.secure || !this.server.certificate)) lines.push('AUTH PLAIN');
    this.reply(lines.map((line, i) => `250${i < lines.length - 1 ? '-' : ' '}${line}`).join('\r\n'));
  }
  STARTTLS() {
    this.reply('220 go on');
    this.socket.removeAllListeners('data');
    this.secure = true;
    this.attach(new tls.TLSSocket(this.socket, { isServer: true, secureContext: this.server.context }));
  }
  AUTH(line) {
    const initial = line.split(' ')[2];
    if (initial) return this.signIn(initial);
    this.awaiting = true;
    this.reply('334 ');
  }
  MAIL(line) {
    if (this.server.auth && this.user !== this.server.auth.user) return this.reply('530 sign in first');
    this.from = line.match(/<(.*?)>/)[1];
    this.to = [];
    this.reply('250 ok');
  }
  RCPT(line) {
    this.to.push(line.match(/<(.*?)>/)[1]);
    this.reply('250 ok');
  }
  DATA() {
    this.data = [];
    this.reply('354 go on');
  }
  RSET() {
    this.reply('250 ok');
  }
  NOOP() {
    this.reply('250 ok');
  }
  QUIT() {
    this.reply('221 bye');
    this.socket.end();
  }
}

/** Options: `certificate` of support/certificates.mjs (offers STARTTLS, or has TLS at once with `implicit`), `auth`
 * {user, password}. `answer(verb, session, line)` may answer in its place: '' at the greeting, '.' after the text; '' as
 * the answer is silence. What came is in `mails` and `commands`. */
export class MailServer {
  constructor({ certificate, implicit = false, auth } = {}) {
    Object.assign(this, { certificate, implicit, auth, mails: [], commands: [], answer: undefined, sockets: new Set() });
    this.context = certificate && tls.createSecureContext({ cert: certificate.cert, key: certificate.key });
  }
  async start(port = 0) {
    const begin = (socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
      new Session(this, socket, this.implicit);
    };
    this.server = this.implicit
      ? tls.createServer({ cert: this.certificate.cert, key: this.certificate.key }, begin)
      : net.createServer(begin);
    this.server.on('tlsClientError', () => {});
    await listen(this.server, port);
    this.port = this.server.address().port;
    this.url = `${this.implicit ? 'smtps' : 'smtp'}://${host}:${this.port}`;
    return this;
  }
  async stop() {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/** Takes CONNECT for any host and leads to one port of this machine. */
export class Proxy {
  constructor(port) {
    this.port = port;
    this.connects = [];
    this.sockets = new Set();
  }
  async start() {
    this.server = http.createServer((request, response) => response.writeHead(405).end());
    this.server.on('connect', (request, client, head) => {
      this.connects.push(request.url);
      const way = net.connect(this.port, host, () => {
        client.write('HTTP/1.1 200 Connection established\r\n\r\n');
        way.write(head);
        way.pipe(client).pipe(way);
      });
      for (const socket of [client, way]) this.sockets.add(socket.on('error', () => {}));
    });
    await listen(this.server, 0);
    this.url = `http://${host}:${this.server.address().port}`;
    return this;
  }
  async stop() {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/** A receiver of webhooks: `requests` {headers, body}; `status(request)` says what it answers. */
export class Hook {
  constructor() {
    this.requests = [];
    this.status = () => 204;
  }
  async start() {
    this.server = http.createServer((request, response) => {
      const chunks = [];
      request.on('data', (chunk) => chunks.push(chunk));
      request.on('end', () => {
        const one = { method: request.method, url: request.url, headers: request.headers, body: Buffer.concat(chunks) };
        this.requests.push(one);
        response.writeHead(this.status(one)).end();
      });
    });
    await listen(this.server, 0);
    this.url = `http://${host}:${this.server.address().port}/mails`;
    return this;
  }
  async stop() {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/** Header fields (lower case) and the decoded text of a mail. */
export function parseMail(raw) {
  const [head, ...body] = raw.split('\r\n\r\n');
  const headers = {};
  for (const line of head.replace(/\r\n /g, ' ').split('\r\n')) {
    const [, name, value] = line.match(/^([^:]+): ?(.*)$/);
    headers[name.toLowerCase()] = value;
  }
  const bytes = body.join('\r\n\r\n').replace(/=\r\n/g, '').replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  return { headers, text: Buffer.from(bytes, 'latin1').toString().replace(/\r\n/g, '\n') };
}

/** The running mail_tool. */
export class Sender {
  constructor(dataDir, args) {
    const program = process.env.SKERRY_MAIL_TOOL;
    if (!program || !fs.existsSync(program)) throw new Error('SKERRY_MAIL_TOOL must name the program');
    this.child = spawn(program, ['--data', dataDir, ...args], { stdio: 'pipe' });
    this.child.stdin.on('error', () => {});
    this.log = '';
    this.child.stderr.on('data', (chunk) => (this.log += chunk));
    this.ended = new Promise((resolve) => this.child.on('close', (code, signal) => resolve(code ?? signal)));
    this.lines = readline.createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }
  async ask(line) {
    this.child.stdin.write(`${line}\n`);
    return this.next();
  }
  async next() {
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`mail_tool ended: ${this.log}`);
    return value;
  }
  /** Throws what was refused. */
  async send(to, code = '1', kind = 'verify_email', seconds = 3600) {
    const answer = await this.ask(`send ${kind} ${to} ${code} ${seconds}`);
    if (answer !== 'ok') throw new Error(answer);
  }
  async info() {
    const [, waiting, sent, refused, expired, tries, problem] = (await this.ask('info')).match(/^(\d+) (\d+) (\d+) (\d+) (\d+) (.*)$/);
    return { waiting: +waiting, sent: +sent, refused: +refused, expired: +expired, tries: +tries, problem };
  }
  async seen() {
    const lines = [await this.ask('seen')];
    while (lines.at(-1) !== '.') lines.push(await this.next());
    return lines.slice(0, -1);
  }
  /** The number of the process of skerry-net, if it runs. */
  helper() {
    const children = fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name)).filter((name) => {
      try {
        return fs.readFileSync(`/proc/${name}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ')[1] === String(this.child.pid);
      } catch {
        return false;
      }
    });
    return children[0];
  }
  async kill() {
    this.child.kill('SIGKILL');
    await this.ended;
  }
  /** Closes it: {code, ms}. */
  async close() {
    const began = Date.now();
    this.child.stdin.end();
    const timer = setTimeout(() => this.child.kill('SIGKILL'), patient(20_000));
    const code = await this.ended;
    clearTimeout(timer);
    return { code, ms: Date.now() - began };
  }
}
