// One command on one new SSH connection: environment, standard input, what it prints, and how it ended.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A server that dies while a command runs says nothing any more, and TCP alone takes minutes to notice. A question every
// aliveInterval must be answered within aliveLimit, which even a busy sshd does.
const (
	aliveInterval = 5 * time.Second
	aliveLimit    = 20 * time.Second
)

// terminateGrace is how long a cancelled command may take to end after SIGTERM before its connection is closed.
const terminateGrace = 2 * time.Second

type result struct{ stdout, stderr any }

// run executes a command with the connection, environment, stdin and logging of the inputs. The previous outputs go
// along in the environment unless the inputs say no. Errors are gRPC errors with secrets masked.
func run(ctx context.Context, command string, inputs, previous object, log *logger) (*result, error) {
	secrets := newMask(inputs, previous)
	log.mask = secrets
	defer log.flush()

	printed, err := execute(ctx, command, inputs, previous, log)
	if err == nil {
		return &result{output(printed.stdout.Bytes()), output(printed.stderr.Bytes())}, nil
	}
	text := err.Error()
	var failed *commandError
	if errors.As(err, &failed) {
		// Mask first, then quote: a quoted secret would not be recognised.
		text = fmt.Sprintf("%s: running %s:\n%s", secrets.apply(failed.cause.Error()),
			strconv.Quote(secrets.apply(command)), secrets.apply(printed.all.String()))
	} else {
		text = secrets.apply(text)
	}
	return nil, status.Error(codeOf(err), strings.ToValidUTF8(text, "\uFFFD"))
}

func codeOf(err error) codes.Code {
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case errors.As(err, &timeout) && timeout.Timeout():
		return codes.DeadlineExceeded
	}
	return codes.Unknown
}

// commandError says that the command ran, or was about to, and how it ended.
type commandError struct{ cause error }

func (e *commandError) Error() string { return e.cause.Error() }
func (e *commandError) Unwrap() error { return e.cause }

// printed is what a command wrote: each stream for the state, and both in the order of arrival for an error text.
type printed struct {
	mutex               sync.Mutex
	stdout, stderr, all bytes.Buffer
}

func (p *printed) writer(stream *bytes.Buffer, lines io.Writer) io.Writer {
	return writerFunc(func(data []byte) {
		p.mutex.Lock()
		stream.Write(data)
		p.all.Write(data)
		p.mutex.Unlock()
		_, _ = lines.Write(data)
	})
}

type writerFunc func([]byte)

func (f writerFunc) Write(data []byte) (int, error) {
	f(data)
	return len(data), nil
}

func execute(ctx context.Context, command string, inputs, previous object, log *logger) (*printed, error) {
	out := &printed{}
	connection, _ := reveal(inputs["connection"]).(object)
	client, closeAll, err := dial(ctx, connection, log.status)
	if err != nil {
		return out, err
	}
	defer closeAll()
	session, err := client.NewSession()
	if err != nil {
		return out, err
	}
	defer session.Close()

	if err := setEnvironment(session, inputs, previous, log); err != nil {
		return out, err
	}
	stdout, stderr := log.lines("stdout", inputs), log.lines("stderr", inputs)
	session.Stdout = out.writer(&out.stdout, stdout)
	session.Stderr = out.writer(&out.stderr, stderr)

	if stdin, _ := text(inputs, "stdin"); stdin != "" {
		pipe, err := session.StdinPipe()
		if err != nil {
			return out, err
		}
		go func() {
			// A command that does not read all of it, or ends early, is no error.
			_, _ = io.WriteString(pipe, stdin)
			_ = pipe.Close()
		}()
	}
	if err := session.Start(command); err != nil {
		return out, &commandError{err}
	}
	ended := make(chan error, 1)
	go func() { ended <- session.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = terminate(session, closeAll, ended, ctx.Err())
	case <-silent(ctx, client):
		closeAll()
		<-ended
		err = fmt.Errorf("connection lost: %s has not answered for %s", client.RemoteAddr(), aliveLimit)
	}
	stdout.end()
	stderr.end()
	if err != nil {
		return out, &commandError{err}
	}
	return out, nil
}

// silent is closed when the server does not answer any more.
func silent(ctx context.Context, client *ssh.Client) <-chan struct{} {
	gone := make(chan struct{})
	go func() {
		for {
			answered := make(chan error, 1)
			go func() {
				// Refusing an unknown request is an answer too.
				_, _, err := client.SendRequest("keepalive@openssh.com", true, nil)
				answered <- err
			}()
			select {
			case err := <-answered:
				if err != nil {
					return // the connection has ended, and the session says how
				}
			case <-ctx.Done():
				return
			case <-time.After(aliveLimit):
				close(gone)
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(aliveInterval):
			}
		}
	}()
	return gone
}

// terminate ends a cancelled command: by a signal if the server passes it on, else with its connection. A command that
// neither writes nor reads may outlive that; hotpair-apply takes the end of its session as the order to go back.
func terminate(session *ssh.Session, closeAll func(), ended <-chan error, cause error) error {
	_ = session.Signal(ssh.SIGTERM)
	select {
	case <-ended:
	case <-time.After(terminateGrace):
		closeAll()
		<-ended
	}
	return cause
}

// setEnvironment passes variables by SSH, which works only for names that the server accepts. A refused variable of
// the user's is an error; a refused previous output is not.
func setEnvironment(session *ssh.Session, inputs, previous object, log *logger) error {
	environment, _ := reveal(inputs["environment"]).(object)
	for _, name := range sortedKeys(environment) {
		value, _ := text(environment, name)
		if err := session.Setenv(name, value); err != nil {
			log.problem(true, refused(name))
			return fmt.Errorf("could not set environment variable %q: %w", name, err)
		}
	}
	if wanted, set := reveal(inputs["addPreviousOutputInEnv"]).(bool); set && !wanted {
		return nil
	}
	for _, stream := range []string{"stdout", "stderr"} {
		value, _ := text(previous, stream)
		if value == "" {
			continue
		}
		name := "PULUMI_COMMAND_" + strings.ToUpper(stream)
		if err := session.Setenv(name, value); err != nil {
			log.problem(false, refused(name)+
				" The command runs without it; set addPreviousOutputInEnv: false where it is not needed.")
		}
	}
	return nil
}

func refused(name string) string {
	return fmt.Sprintf("The SSH server refused the environment variable %s: add it to AcceptEnv in its sshd_config, "+
		"or pass the value on standard input.", name)
}
