// The page's half of the protocol behind a pipe: one JSON line in, one out. `file`: its wire.js.
import readline from "node:readline";
const {Decoder, Peer, encode, INPUT_WINDOW, INTERACTIVE_WINDOW} = await import(process.argv[2]);

const bytes = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));
const hex = (data) => Buffer.from(data).toString("hex");
const plain = (value) => JSON.parse(JSON.stringify(value, (key, each) =>
  typeof each === "bigint" ? String(each) : each instanceof Uint8Array ? hex(each) : each));
let peer;

// Frames of a file, cut into pieces of so many bytes; neighbouring pieces of DATA joined.
function decoded(data, size) {
  const decoder = new Decoder(), out = [];
  for (let at = 0; at < data.length; at += size) {
    for (const frame of decoder.feed(data.slice(at, at + size))) {
      const last = out.at(-1);
      if (frame.type === 1 && last?.type === 1 && last.stream === frame.stream && last.more) {
        last.data = Uint8Array.from(Buffer.concat([last.data, frame.data]));
        last.fin = frame.fin;
      } else {
        out.push({...frame});
      }
      if (frame.type === 1) out.at(-1).more = decoder.open !== null;
    }
  }
  return out.map(({more, ...frame}) => frame);
}

const ops = {
  decode: ({data, size}) => {
    const frames = decoded(bytes(data), size);
    return {frames, again: frames.map((frame) => hex(encode(frame))).join("")};
  },
  new: () => {
    peer = new Peer();
    peer.addSend(2, INPUT_WINDOW);
    return {};
  },
  up: ({hello}) => (peer.linkUp(hello), {}),
  lost: () => (peer.linkLost(), {}),
  write: ({data}) => (peer.write(2, bytes(data)), {}),
  say: ({message}) => (peer.say(message), {}),
  consume: ({stream, count}) => (peer.consume(stream, count), {}),
  ping: () => (peer.ping(7), {}),
  pull: ({most}) => ({data: peer.pull(most).map(hex).join("")}),
  receive: ({data}) => {
    const all = [];
    for (let events = peer.receive(bytes(data)); events.length;) {
      const event = events.shift();
      all.push(event);
      if (event.event === "greeted") {
        for (const [id, at] of Object.entries(event.message.start ?? {})) {
          peer.addRecv(Number(id), INTERACTIVE_WINDOW, at);
        }
        events = [...peer.adopt(event.message), ...events];
      }
    }
    return {events: all};
  },
};

for await (const line of readline.createInterface({input: process.stdin})) {
  const message = JSON.parse(line);
  let answer;
  try {
    answer = plain(ops[message.op](message));
  } catch (error) {
    answer = {error: error.code ?? String(error.stack)};
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
