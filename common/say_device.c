/* What satcheld says, and satchel of what goes wrong below it. */
#include "common/say.h"

const struct sat_say_pair sat_say_device[] = {
	/* satcheld: arguments */
	{ "satcheld " SAT_VERSION " - keeps this device's copy of the data\n\n"
	  "usage: satcheld enroll --dir DIR [--timeout SECONDS] INVITE\n"
	  "           make this device's key, get its certificate and first "
	  "data; what\n"
	  "           was cut off goes on when it is run again\n"
	  "       satcheld run --dir DIR [--once] [--timeout SECONDS]\n"
	  "           stay and sync; --once: send everything, fetch "
	  "everything, "
	  "exit\n"
	  "           --timeout: how long to wait for the server, 30 unless "
	  "given\n"
	  "       satcheld config [--dir DIR] [--manual]\n"
	  "           print the settings of DIR/satcheld.conf, or their "
	  "manual\n\n"
	  "--lang en|zh chooses the language (default: LC_ALL, LC_MESSAGES or "
	  "LANG).\n"
	  "INVITE is the line that `satchel-server invite` printed.\n"
	  "The data is DIR/replica.db: read and write it with `satchel --dir "
	  "DIR`, or with\nany program that speaks SQLite, online or not.\n"
	  "Exit codes: 0 done, 1 failed, 2 usage, 3 no server, 4 refused, 5 "
	  "local "
	  "error,\n75 busy: another process has the folder.\n",
	  "satcheld " SAT_VERSION " - 保管本设备上的数据\n\n"
	  "用法：satcheld enroll --dir 目录 [--timeout 秒] 邀请\n"
	  "           生成本设备的密钥，取得证书和首批数据；\n"
	  "           中断后再运行一次即可继续\n"
	  "       satcheld run --dir 目录 [--once] [--timeout 秒]\n"
	  "           持续同步；--once：全部发送、全部接收后退出\n"
	  "           --timeout：等待服务器多久，默认 30\n"
	  "       satcheld config [--dir 目录] [--manual]\n"
	  "           显示 目录/satcheld.conf 的设置，或其说明\n\n"
	  "--lang en|zh 选择语言（默认取 LC_ALL、LC_MESSAGES 或 LANG）。\n"
	  "“邀请”是 `satchel-server invite` 输出的那一行。\n"
	  "数据在 目录/replica.db 中：可用 `satchel --dir 目录`，\n"
	  "或任何支持 SQLite 的程序读写，有无网络均可。\n"
	  "退出码：0 完成，1 失败，2 用法错误，3 没有服务器，4 被拒绝，5 "
	  "本机错误，\n"
	  "75 忙：另一个进程正在使用该文件夹。\n" },
	{ "satcheld: --timeout is 1 to 86400 seconds, not \"%s\"\n",
	  "satcheld：--timeout 应为 1 到 86400 秒，不能是“%s”\n" },
	{ "satcheld: \"%s\" is not understood\n", "satcheld：不明白“%s”\n" },
	{ "satcheld: --lang is en or zh, not \"%s\"\n",
	  "satcheld：--lang 只能是 en 或 zh，不能是“%s”\n" },
	{ "satcheld: there is no command \"%s\"\n",
	  "satcheld：没有命令“%s”\n" },
	{ "satcheld: --dir DIR is needed\n", "satcheld：需要 --dir 目录\n" },
	{ "satcheld enroll: INVITE is needed\n",
	  "satcheld enroll：需要邀请（一行 satchel://...）\n" },
	{ "satcheld run: \"%s\" is not understood\n",
	  "satcheld run：不明白“%s”\n" },

	/* satcheld: how it went */
	{ "done: %llu confirmed, %llu rejected%s\n",
	  "完成：%llu 组已确认，%llu 组被拒绝%s\n" },
	{ "no answer", "没有应答" },
	{ "; `satchel rejected` lists them", "；见 `satchel rejected`" },
	{ ": ", "：" },
	{ "satcheld: not done: %s\n", "satcheld：未完成：%s\n" },
	{ "not done: %s", "未完成：%s" },
	{ "the running daemon reached no server in time",
	  "正在运行的 satcheld 未能及时连上服务器" },
	{ "the server refuses this device", "服务器拒绝本设备，请联系管理员" },
	{ "the running daemon could not sync; `satchel status` says why",
	  "正在运行的 satcheld 未能同步，原因见 `satchel status`" },
	{ "satcheld: %s", "satcheld：%s" },
	{ "satcheld: this device was wiped, as its organisation ordered\n",
	  "satcheld：本设备已按单位要求清除\n" },
	{ "satcheld: this device could not be wiped wholly\n",
	  "satcheld：本设备未能全部清除\n" },
	{ "%s is being read by another program", "%s 正被另一个程序读取" },
	{ "satcheld: the replica was damaged; what was not yet sent is saved, "
	  "the rest is fetched again\n",
	  "satcheld：本地数据曾损坏；尚未发送的内容已保存，其余将重新获取\n" },
	{ "enrolled as %.*s (%.*s), device %lu\n",
	  "已注册：%.*s（%.*s），设备 %lu\n" },
	{ "this device's data still differs from the server's after it was "
	  "fetched again; tell your administrator",
	  "重新获取之后，本设备的数据仍与服务器不一致；请联系管理员" },

	/* satcheld: what stopped it */
	{ "the replica names no server", "本地数据没有记录服务器地址" },
	{ "%s holds %s/lock but does not answer",
	  "%s占用了 %s/lock，但没有应答" },
	{ "%s syncs %s already", "%s已在同步 %s" },
	{ "%s/device.pem is missing, without it no server knows this device; "
	  "its replica.db is still there",
	  "%s/device.pem 不见了，服务器因此无法认出本设备；其 replica.db "
	  "仍在" },
	{ "%s is not an enrolled device; `satcheld enroll --dir DIR INVITE` "
	  "makes one",
	  "%s 不是已注册的设备；请先运行 `satcheld enroll --dir 目录 邀请`" },
	{ "that is not an invitation; it is one line, "
	  "satchel://HOST:PORT/CODE/HASH, as `satchel-server invite` printed "
	  "it",
	  "这不是邀请；邀请是 `satchel-server invite` "
	  "输出的一行：satchel://主机:端口/邀请码/哈希" },
	{ "the server sent a broken frame", "服务器发来的消息已损坏" },
	{ "the server says: %s", "服务器答复：%s" },
	{ "the server closed the connection", "服务器关闭了连接" },
	{ "the server answered something else", "服务器答非所问" },
	{ "a certificate for another device", "证书属于另一台设备" },
	{ "%s/replica.db may hold changes that no server has; `satchel rescue` "
	  "saves them; enroll with another --dir",
	  "%s/replica.db 中可能有服务器没有的修改；可用 `satchel rescue` "
	  "保存；请换一个 --dir 注册" },
	{ "%s is enrolled already; use another --dir",
	  "%s 已经注册过；请换一个 --dir" },

	/* the server's refusals of a device */
	{ "this invitation is not known", "没有这个邀请；请索取新的邀请" },
	{ "this invitation has expired", "该邀请已过期；请索取新的邀请" },
	{ "this invitation was used already",
	  "该邀请已被使用；请索取新的邀请" },
	{ "the user of this invitation is not active",
	  "该邀请所属的用户已停用" },
	{ "no common protocol version",
	  "没有双方都支持的协议版本，请更新程序" },
	{ "the server is busy", "服务器正忙，请稍后再试" },
	{ "the device's request or its proof is not valid",
	  "设备的申请或其证明无效" },
	{ "one ENROL is expected", "应只有一次注册请求" },
	{ "HELLO names another replica than the certificate",
	  "设备编号与证书不符" },
	{ "credit for what was not sent", "对方确认了没有发送的内容" },
	{ "WIPE that nobody ordered", "没有人要求清除本设备" },
	{ "unexpected message", "收到意外的消息" },
	{ "HELLO must come first", "第一条消息应为 HELLO" },
	{ "unknown message", "收到未知的消息" },
	{ "a message could not be read", "收到无法读取的消息" },
	{ "a message could not be made", "无法生成消息" },
	{ "hash of a changeset is wrong", "一组修改的哈希不正确" },
	{ "changeset or part too large", "一组修改过大" },
	{ "gap in changeset numbers", "修改的编号不连续" },
	{ "unknown device", "服务器不认识本设备，请联系管理员" },
	{ "this device was revoked", "本设备已被停用，请联系管理员" },
	{ "this device was silent for too long; it needs a new invitation",
	  "本设备太久没有联系服务器，需要新的邀请" },
	{ "this user's access has ended", "该用户的权限已终止，请联系管理员" },
	{ "the device's catalogue is newer than the server's",
	  "设备的目录比服务器的新" },
	{ "a cursor that no server has given",
	  "设备的同步位置不是服务器给出的" },
	{ "this device is a copy of another one", "本设备是另一台设备的副本" },
	{ "this changeset was decided long ago", "这组修改早已处理" },
	{ "this is no changeset of this device", "这不是本设备的修改" },
	{ "changesets are missing before this one", "此前还缺少若干组修改" },
	{ "a certificate is renewed over its own key",
	  "续期证书应使用原来的密钥" },
	{ "the rows are fetched again", "正在重新获取记录" },
	{ "another history of the server", "服务器已恢复到另一份历史" },
	{ "wipe put off", "清除推迟到未发送的内容送出之后" },
	{ "no file events", "无法监视文件变化" },

	/* the replica */
	{ "the scopes of a row are damaged", "一条记录的范围信息已损坏" },
	{ "a row's metadata is damaged", "一条记录的元数据已损坏" },
	{ "the metadata of a row is damaged", "一条记录的元数据已损坏" },
	{ "metadata of a %s row is damaged", "%s 表中一条记录的元数据已损坏" },
	{ "the stored values of a row are damaged", "一条记录的存储值已损坏" },
	{ "a stored change is damaged", "一处已保存的修改已损坏" },
	{ "a row is too large to keep", "一条记录过大，无法保存" },
	{ "the replica is damaged beyond rescue: it does not say whose it is",
	  "本地数据损坏严重，无法抢救：已不知属于谁" },
	{ "cannot rename a file of the replica", "无法重命名本地数据文件" },
	{ "the damaged replica cannot be opened", "损坏的本地数据无法打开" },
	{ "the replica does not say whose it is", "本地数据没有说明属于谁" },
	{ "stored scopes cannot be read", "无法读取已保存的范围" },
	{ "unknown role", "未知的角色" },
	{ "a change cannot be encoded", "一处修改无法编码" },
	{ "a changeset of %u rows cannot be encoded",
	  "%u 条记录的修改无法编码" },
	{ "changeset %llu is not in the outbox", "第 %llu 组修改不在发件箱中" },
	{ "a changeset cannot be encoded", "一组修改无法编码" },
	{ "a changeset's hash is damaged", "一组修改的哈希已损坏" },
	{ "more than %d columns", "超过 %d 列" },
	{ "the text begins a transaction and does not end it: rolled back",
	  "这段 SQL 开始了事务却没有结束：已撤销" },
	{ "a rejected change is too large to list",
	  "一处被拒绝的修改过大，无法列出" },
	{ "the replica has no catalogue", "本地数据没有目录" },
	{ "cannot sync the folder of the replica",
	  "无法写入本地数据所在的文件夹" },
	{ "there is a replica already", "已有本地数据" },
	{ "cannot rename the new replica", "无法重命名新的本地数据" },
	{ "the row has too many authors", "该记录的作者过多" },
	{ "the row has more than %d writes", "该记录的写入超过 %d 次" },
	{ "nothing is known of such a row", "没有关于这条记录的信息" },
	{ "the server has changes of this device that the device does not: its "
	  "file is older than it was",
	  "服务器有本设备已没有的修改：本设备的文件比从前旧" },

	{ "the catalogue makes too much SQL", "目录生成的 SQL 过多" },
	{ "rows of an unknown table %u", "收到未知表 %u 的记录" },
	{ "too much differs to be asked for row by row",
	  "差异过多，无法逐条重新获取" },
	{ "scopes that do not rise", "收到的范围编号没有递增" },
	{ "an answer to another question", "收到的答复与所问不符" },
	{ "a page was not finished", "一页记录不完整" },
	{ "a page is too large", "一页记录过大" },
	{ "a mark is too long", "一个标记过长" },
	{ "a cursor beyond all numbers", "同步位置超出范围" },
	{ "a row's metadata cannot be encoded", "一条记录的元数据无法编码" },
	{ "a verdict on changeset %llu, which was never made here",
	  "收到对第 %llu 组修改的答复，而本机从未有过这组修改" },
	{ "scopes do not fit", "范围信息不一致" },

	/* satchel */
	{ "a value is too large to print", "一个值过大，无法显示" },
	{ "the output could not be written", "无法写出结果" },
	{ "the file could not be written", "无法写入文件" },
	{ "%s: the row is no longer on this device",
	  "%s：该记录已不在本设备上" },
	{ "half an author", "作者记录不完整" },
	{ NULL, NULL },
};
