// Mails of accounts: to a mail server and a webhook that the test runs, over TLS with an authority of its own, through
// the real skerry-net; the uplink goes and comes, the process is killed, servers are hostile.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Authority, opensslMissing } from './support/certificates.mjs';
import { Hook, MailServer, parseMail, Proxy, Sender } from './support/mail.mjs';
import { residentBytes } from './support/process.mjs';
import { makeTempDir, removeDir, runSkerry, skerryOnly, startServer } from './support/server.mjs';
import { patient, until } from './support/wait.mjs';

const options = { skip: skerryOnly || opensslMissing, timeout: patient(90_000) };
const PASSWORD = 'hunter2-is-no-password';
const KEY = '0123456789abcdef0123456789abcdef';
let directory, authority, certificate, passwordFile, keyFile;
let made = 0;
before(() => {
  if (options.skip) return;
  directory = makeTempDir();
  authority = new Authority(directory);
  certificate = authority.server('mail', { names: ['IP:127.0.0.1', 'DNS:mail.test'] });
  passwordFile = path.join(directory, 'password');
  keyFile = path.join(directory, 'key');
  fs.writeFileSync(passwordFile, `${PASSWORD}\n`, { mode: 0o600 });
  fs.writeFileSync(keyFile, KEY, { mode: 0o600 });
});
after(() => directory && removeDir(directory));

const FROM = ['--mail-from', 'Büro am Hafen <box@box.example>'];
const dataDir = () => path.join(directory, `data${++made}`);
const signIn = () => ['--smtp-user', 'box', '--smtp-password-file', passwordFile];
const smtp = (server, ...more) => ['--smtp', server.url, ...FROM, '--mail-ca', authority.certFile, ...more];
const webhook = (hook) => ['--mail-webhook', hook.url, '--mail-webhook-key-file', keyFile];

/** Runs `body(open)`, where open(args, data) starts a sender, and ends all that was started. */
async function withParts(parts, body) {
  const senders = [];
  const open = (args, data = dataDir()) => {
    const sender = new Sender(data, args);
    senders.push(sender);
    return sender;
  };
  try {
    for (const part of parts) await part.start();
    await body(open);
  } finally {
    for (const sender of senders) await sender.kill();
    for (const part of parts) await part.stop().catch(() => {});
  }
}
const sent = (sender, count) => until(async () => (await sender.info()).sent === count, `${count} sent`);
const messageId = (mail) => parseMail(mail.text).headers['message-id'];

test('a mail goes out over STARTTLS, signed in, and is what a mail has to be', options, () => {
  const server = new MailServer({ certificate, auth: { user: 'box', password: PASSWORD } });
  return withParts([server], async (open) => {
    const sender = open(smtp(server, ...signIn(), '--mail-app-name', 'Café'));
    await sender.send('ann@example.com', 'code-1', 'reset_password');
    await sent(sender, 1);
    const [mail] = server.mails;
    assert.deepEqual([mail.from, mail.to, mail.secure, mail.user, mail.password], ['box@box.example', ['ann@example.com'], true, 'box', PASSWORD]);
    assert.equal(server.commands.find((line) => line.startsWith('EHLO')), 'EHLO box.example');
    const { headers, text } = parseMail(mail.text);
    assert.match(headers['message-id'], /^<[0-9a-f]{32}@box\.example>$/);
    assert.ok(Math.abs(Date.parse(headers.date) - Date.now()) < 60_000);
    assert.equal(headers.to, '<ann@example.com>');
    assert.equal(headers.from, '=?utf-8?B?QsO8cm8gYW0gSGFmZW4=?= <box@box.example>');
    assert.equal(headers['auto-submitted'], 'auto-generated');
    assert.match(headers.subject, /^=\?utf-8\?B\?/);
    assert.match(text, /^Hello,\n\nfollow this link to choose a new password for your account ann@example.com:\n\nhttps:\/\/box\.example\/__\/auth\/action\?mode=verifyEmail&oobCode=code-1\n/);
    assert.match(text, /Café\n$/);
    // The password is in no argument and in no log.
    const pids = [sender.child.pid, sender.helper()].filter(Boolean);
    for (const pid of pids) assert.ok(!fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(PASSWORD));
    assert.equal(pids.length, 2);
    assert.equal((await sender.close()).code, 0);
    for (const word of [PASSWORD, 'code-1', 'ann@example.com']) assert.ok(!sender.log.includes(word), sender.log);
  });
});

test('a mail goes out over TLS from the first byte', options, () => {
  const server = new MailServer({ certificate, implicit: true, auth: { user: 'box', password: PASSWORD } });
  return withParts([server], async (open) => {
    const sender = open(smtp(server, ...signIn()));
    await sender.send('ann@example.com');
    await sender.send('bob@example.com');
    await sent(sender, 2);
    assert.deepEqual(server.mails.map((mail) => [mail.to[0], mail.secure]), [['ann@example.com', true], ['bob@example.com', true]]);
  });
});

test('texts of the operator take the place of the built-in ones', options, () => {
  const server = new MailServer({ certificate });
  const templates = path.join(directory, 'templates');
  fs.mkdirSync(templates, { recursive: true });
  fs.writeFileSync(path.join(templates, 'verify_email.txt'), 'Subject: Hallo %DISPLAY_NAME%\n\nBitte: %LINK%\n.\n.. Grüße\n');
  return withParts([server], async (open) => {
    const sender = open(smtp(server, '--mail-templates', templates));
    await sender.send('ann@example.com', 'x');
    await sent(sender, 1);
    const { headers, text } = parseMail(server.mails[0].text);
    assert.equal(headers.subject, `=?utf-8?B?${Buffer.from('Hallo Jürgen').toString('base64')}?=`);
    assert.equal(text, 'Bitte: https://box.example/__/auth/action?mode=verifyEmail&oobCode=x\n.\n.. Grüße\n');
  });
});

test('a server that shows a certificate of strangers gets nothing', options, () => {
  const other = new Authority(directory, 'Another Authority').server('mail', { names: ['IP:127.0.0.1'] });
  const server = new MailServer({ certificate: other, auth: { user: 'box', password: PASSWORD } });
  return withParts([server], async (open) => {
    const sender = open(smtp(server, ...signIn()));
    await sender.send('ann@example.com');
    await until(async () => (await sender.info()).tries >= 2, 'two tries');
    const info = await sender.info();
    assert.deepEqual([info.waiting, info.sent, info.refused], [1, 0, 0]);
    assert.match(info.problem, /certificate|SSL/i);
    assert.ok(!server.commands.some((line) => /^(AUTH|MAIL)/.test(line)), server.commands.join());
    assert.equal((await sender.close()).code, 0);
    assert.equal(sender.log.match(/mails cannot be sent/g).length, 1); // not once a try
  });
});

test('without TLS nothing is sent to another machine, unless the operator says so; through a proxy', options, () => {
  const server = new MailServer();
  const proxy = new Proxy();
  return withParts([server, proxy], async (open) => {
    proxy.port = server.port;
    const far = ['--smtp', 'smtp://mail.test:2525', ...FROM, '--net-proxy', proxy.url];
    const strict = open(far);
    await strict.send('ann@example.com');
    await until(async () => (await strict.info()).tries >= 2, 'two tries');
    assert.equal((await strict.info()).waiting, 1);
    assert.ok(server.commands.length > 0 && !server.commands.some((line) => line.startsWith('MAIL')), server.commands.join());
    await strict.kill();
    const relaxed = open([...far, '--smtp-insecure']);
    await relaxed.send('bob@example.com');
    await sent(relaxed, 1);
    assert.deepEqual(server.mails.map((mail) => [mail.to[0], mail.secure]), [['bob@example.com', false]]);
    assert.deepEqual([...new Set(proxy.connects)], ['mail.test:2525']);
  });
});

test('STARTTLS holds through a proxy, by the name of the server', options, () => {
  const server = new MailServer({ certificate });
  const proxy = new Proxy();
  return withParts([server, proxy], async (open) => {
    proxy.port = server.port;
    const sender = open(['--smtp', 'smtp://mail.test', ...FROM, '--net-proxy', proxy.url, '--mail-ca', authority.certFile]);
    await sender.send('ann@example.com');
    await sent(sender, 1);
    assert.equal(server.mails[0].secure, true);
    assert.deepEqual([...new Set(proxy.connects)], ['mail.test:587']);
  });
});

test('mails wait while the uplink is down, and go when it is back', options, () => {
  const server = new MailServer({ certificate });
  return withParts([server], async (open) => {
    await server.stop();
    const sender = open(smtp(server));
    for (let i = 0; i < 5; i++) await sender.send(`user${i}@example.com`);
    await until(async () => (await sender.info()).tries >= 3, 'some tries');
    assert.equal((await sender.info()).waiting, 5);
    await server.start(server.port);
    await sent(sender, 5);
    assert.deepEqual(server.mails.map((mail) => mail.to[0]).sort(), [0, 1, 2, 3, 4].map((i) => `user${i}@example.com`));
    await until(async () => (await sender.info()).waiting === 0, 'the last to be deleted'); // which comes after it was sent
    assert.deepEqual(await sender.info().then(({ refused, problem }) => [refused, problem]), [0, '']);
  });
});

test('what was promised survives kills, and what comes twice has one Message-ID', options, () => {
  const server = new MailServer({ certificate });
  return withParts([server], async (open) => {
    await server.stop();
    const data = dataDir();
    let sender = open(smtp(server), data);
    for (let i = 0; i < 5; i++) await sender.send(`user${i}@example.com`);
    await sender.kill();
    // Killed again and again after the server has taken the text, before it says so.
    const texts = [];
    server.answer = (verb, session) => {
      if (verb !== '.') return undefined;
      texts.push(session.to[0]);
      sender.child.kill('SIGKILL');
      return '';
    };
    await server.start(server.port);
    for (let round = 0; round < 3; round++) {
      sender = open(smtp(server), data);
      await sender.ended;
    }
    assert.deepEqual(texts, Array(3).fill('user0@example.com'));
    // Killed once after it was said, about when it is deleted.
    sender = open(smtp(server), data);
    let { child } = sender;
    server.answer = (verb, session) => {
      if (verb === '.' && session.to[0] === 'user2@example.com') {
        const victim = child;
        child = undefined;
        setTimeout(() => victim?.kill('SIGKILL'), 0);
      }
      return undefined;
    };
    await sender.ended;
    sender = open(smtp(server), data);
    await until(async () => (await sender.info()).waiting === 0, 'nothing waits');
    const ids = new Map();
    for (const mail of server.mails) ids.set(mail.to[0], new Set([...(ids.get(mail.to[0]) ?? []), messageId(mail)]));
    assert.deepEqual([...ids.keys()].sort(), [0, 1, 2, 3, 4].map((i) => `user${i}@example.com`));
    for (const [to, set] of ids) assert.equal(set.size, 1, to);
  });
});

test('refusals are for one mail, and for good or for now', options, () => {
  const server = new MailServer({ certificate });
  const data = dataDir();
  return withParts([server], async (open) => {
    let greylisted = 0;
    server.answer = (verb, session, line) => {
      if (verb === 'RCPT' && line.includes('gone@')) return '550 5.1.1 no gone@example.com here';
      if (verb === 'RCPT' && line.includes('odd@')) return '504 5.5.2 <odd@example.com>: need fully-qualified address';
      if (verb === 'RCPT' && line.includes('grey@') && greylisted++ === 0) return '451 come back later';
      if (verb === '.' && session.to[0].startsWith('spam@')) return '554 we do not like it';
      return undefined;
    };
    const sender = open(smtp(server), data);
    for (const name of ['odd', 'gone', 'grey', 'spam', 'ann']) await sender.send(`${name}@example.com`);
    await until(() => server.mails.some((mail) => mail.to[0] === 'ann@example.com'), 'ann');
    await until(async () => (await sender.info()).waiting === 1, 'one waits');
    assert.equal((await sender.info()).refused, 3);
    await sent(sender, 2); // the greylisted one, three seconds later
    assert.equal(greylisted, 2);
    assert.equal((await sender.close()).code, 0);
    assert.match(sender.log, /a mail was refused and is dropped.*reason="the mail server answered 550"/);
    assert.ok(!sender.log.includes('example.com'), sender.log);
  });
});

test('a server that does not let us in is no reason to drop mails', options, () => {
  const server = new MailServer({ certificate, auth: { user: 'box', password: 'another' } });
  return withParts([server], async (open) => {
    const sender = open(smtp(server, ...signIn()));
    await sender.send('ann@example.com');
    await until(async () => (await sender.info()).tries >= 2, 'two tries');
    assert.equal((await sender.info()).waiting, 1);
    for (const answer of ['554 no service', '421 too many']) { // the greeting
      server.answer = (verb) => (verb === '' ? answer : undefined);
      const { tries } = await sender.info();
      await until(async () => (await sender.info()).tries >= tries + 2, answer);
    }
    for (const [where, answer] of [['MAIL', '553 not as this sender'], ['EHLO', '550 who?']]) {
      server.answer = (verb) => (verb === where || (where === 'EHLO' && verb === 'HELO') ? answer : undefined);
      server.auth = undefined;
      const { tries } = await sender.info();
      await until(async () => (await sender.info()).tries >= tries + 2, answer);
    }
    assert.deepEqual(await sender.info().then(({ waiting, refused }) => [waiting, refused]), [1, 0]);
    server.answer = undefined;
    server.auth = { user: 'box', password: PASSWORD };
    await sent(sender, 1);
    await sender.close();
    assert.ok(!sender.log.includes(PASSWORD));
  });
});

test('hostile servers cost little and hold nothing up for good', options, () => {
  const server = new MailServer({ certificate });
  return withParts([server], async (open) => {
    const sender = open(smtp(server));
    const endless = (session) => {
      const block = Buffer.alloc(65536, 'x');
      let left = 512; // 32 MiB without an end of line
      const more = () => {
        while (left-- > 0) if (!session.socket.write(block)) return void session.socket.once('drain', more);
        session.socket.destroy();
      };
      more();
      return '';
    };
    const lines = (session) => {
      for (let i = 0; i < 20_000; i++) session.socket.write('250-more\r\n');
      session.socket.destroy();
      return '';
    };
    let most = 0;
    const timer = setInterval(() => {
      try {
        most = Math.max(most, residentBytes(sender.helper()));
      } catch {} // between two
    }, 20);
    await sender.send('ann@example.com');
    const attacks = [
      ['', (session) => endless(session)],
      ['EHLO', (session) => endless(session)],
      ['EHLO', (session) => lines(session)],
      ['', (session) => (session.socket.destroy(), '')],
      ['', (session) => (session.socket.end('\0\xff garbage\r\n'), '')],
      ['DATA', () => '250 what'],
      ['STARTTLS', (session) => (session.socket.write('220 go\r\n250 injected\r\n'), session.socket.destroy(), '')],
    ];
    for (const [where, attack] of attacks) {
      server.answer = (verb, session) => (verb === where ? attack(session) : undefined);
      const { tries } = await sender.info();
      await until(async () => (await sender.info()).tries > tries, `a try after ${where}`);
    }
    clearInterval(timer);
    assert.ok(most > 0 && most < 80 << 20, `${most}`);
    assert.equal((await sender.info()).waiting, 1);
    server.answer = undefined;
    await sent(sender, 1);
    // One that never says anything does not hold up the end.
    server.answer = () => '';
    await sender.send('bob@example.com');
    await until(() => server.sockets.size > 0, 'a connection');
    const { code, ms } = await sender.close();
    assert.equal(code, 0);
    assert.ok(ms < 15_000, `${ms}`);
  });
});

test('what is not sent in time is dropped', options, () => {
  const server = new MailServer({ certificate });
  return withParts([server], async (open) => {
    await server.stop();
    const sender = open(smtp(server));
    await sender.send('late@example.com', 'x', 'email_link', 1);
    await sender.send('ann@example.com', 'x', 'email_link', 3600);
    await until(async () => (await sender.info()).expired === 1, 'one expires');
    await server.start(server.port);
    await sent(sender, 1);
    assert.deepEqual(server.mails.map((mail) => mail.to[0]), ['ann@example.com']);
  });
});

test('a webhook gets what it needs, signed', options, () => {
  const hook = new Hook();
  return withParts([hook], async (open) => {
    const sender = open([...webhook(hook), ...FROM]);
    await sender.send('ann@example.com', 'code-7', 'change_email');
    await sent(sender, 1);
    const [{ method, url, headers, body }] = hook.requests;
    assert.deepEqual([method, url, headers['content-type']], ['POST', '/mails', 'application/json']);
    const mail = JSON.parse(body);
    const { id, createdAt, expiresAt, text, ...rest } = mail;
    assert.deepEqual(rest, {
      kind: 'change_email', project: 'shop', from: 'Büro am Hafen <box@box.example>', to: 'ann@example.com', email: 'ann@example.com',
      displayName: 'Jürgen', link: 'https://box.example/__/auth/action?mode=verifyEmail&oobCode=code-7', code: 'code-7',
      subject: 'Verify your new e-mail address for shop',
    });
    assert.match(id, /^[0-9a-f]{32}$/);
    assert.equal(headers['idempotency-key'], id);
    assert.ok(text.includes(mail.link));
    assert.ok(Math.abs(Date.parse(expiresAt) - Date.parse(createdAt) - 3600_000) <= 1000);
    const time = headers['skerry-timestamp'];
    assert.ok(Math.abs(Number(time) * 1000 - Date.now()) < 60_000);
    const wanted = crypto.createHmac('sha256', KEY).update(`${time}.`).update(body).digest('hex');
    assert.equal(headers['skerry-signature'], `v1=${wanted}`);
    await sender.close();
    assert.ok(!sender.log.includes(KEY) && !sender.log.includes('code-7'));
  });
});

test('the statuses of a webhook mean what they say', options, () => {
  const hook = new Hook();
  return withParts([hook], async (open) => {
    const asked = {};
    hook.status = ({ body }) => {
      const name = JSON.parse(body).to.split('@')[0];
      asked[name] = (asked[name] ?? 0) + 1;
      return { bad: 400, busy: asked.busy > 1 ? 200 : 503, away: asked.away > 3 ? 200 : 403 }[name] ?? 204;
    };
    const sender = open(webhook(hook));
    for (const name of ['bad', 'busy', 'away', 'ann']) await sender.send(`${name}@example.com`);
    await sent(sender, 3);
    assert.deepEqual(asked, { bad: 1, busy: 2, away: 4, ann: 1 });
    assert.equal((await sender.info()).refused, 1);
  });
});

test('development lists mails and sends none; without a way they are refused', options, () =>
  withParts([], async (open) => {
    const dev = open(['--dev']);
    await dev.send('ann@example.com', 'c1', 'reset_password');
    await dev.send('bob@example.com', 'c2', 'email_link');
    assert.deepEqual(await dev.seen(), [
      'reset_password ann@example.com c1 https://box.example/__/auth/action?mode=verifyEmail&oobCode=c1',
      'email_link bob@example.com c2 https://box.example/__/auth/action?mode=verifyEmail&oobCode=c2',
    ]);
    await dev.close();
    assert.match(dev.log, /mail.*kind=reset_password.*ann@example\.com.*oobCode=c1/);
    const none = open([]);
    await assert.rejects(none.send('ann@example.com'), /FAILED_PRECONDITION OPERATION_NOT_ALLOWED/);
    assert.deepEqual(await none.seen(), []);
  }));

test('addresses that could be something else are refused', options, () =>
  withParts([], async (open) => {
    const dev = open(['--dev']);
    for (const address of ['ann', 'ann@', 'ann@example', '<ann@example.com>', 'ann@example.com,bob@example.com', '"a"@example.com', 'ann@[192.0.2.1]'])
      await assert.rejects(dev.send(address), /INVALID_ARGUMENT INVALID_EMAIL/, address);
    assert.deepEqual(await dev.seen(), []);
  }));

test('the server refuses settings of mails that cannot be meant, and sends what waits', options, () => {
  const server = new MailServer({ certificate });
  return withParts([server], async (open) => {
    const data = dataDir();
    const serve = (args) => runSkerry(['serve', '--data', data, '--listen', '127.0.0.1:0', ...args]);
    for (const [args, wanted] of [
      [['--smtp', 'mail.example'], /smtp:\/\/host:port/],
      [['--smtp', 'smtp://mail.example'], /mail_from/],
      [[...smtp(server), '--mail-webhook', 'https://hooks.example'], /one of them/],
      [['--smtp', 'smtp://mail.example', ...FROM, ...signIn(), '--smtp-insecure'], /in the clear/],
      [[...smtp(server), '--net-proxy', 'proxy:80'], /no proxy/],
      [[...smtp(server), '--smtp-user', 'u', '--smtp-password-file', '/nonexistent'], /\/nonexistent/],
      [[...webhook({ url: 'https://hooks.example' }).slice(0, 2), '--mail-webhook-key-file', passwordFile.replace('password', 'none')], /cannot be opened/],
    ]) {
      const result = serve(args);
      assert.notEqual(result.code, 0);
      assert.match(result.stderr, wanted);
    }
    await server.stop();
    const sender = open(smtp(server), data);
    await sender.send('ann@example.com');
    await sender.close();
    await server.start(server.port);
    const started = await startServer({ dataDir: data, args: [...smtp(server)] });
    try {
      await until(() => server.mails.length === 1, 'the mail');
    } finally {
      await started.stop();
    }
  });
});
