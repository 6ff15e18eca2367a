# slowpath: every target is one call of `cargo xtask`; `cargo xtask --help` knows more.
#
#   make run ARGS="--machine raspi4b"

XTASK = cargo xtask
ARGS =

.PHONY: help run test check debug doctor setup bench miri model stress family shuttle loom image sdcard flash \
	clean toolchain

help:
	@echo 'slowpath: the page allocator of Linux 5.0, on a bare ARM64 machine, with a shell'
	@echo
	@echo '  make run      boot in QEMU and get the prompt (sets the machine up when needed)'
	@echo '  make test     prove it: unit tests, transcripts, expect scripts, costs'
	@echo '  make check    formatting, lints, layout rules, documentation'
	@echo '  make debug    boot stopped, with gdb attached'
	@echo '  make bench    count the instructions of the allocator'"'"'s paths'
	@echo '  make miri     run the kernel'"'"'s tests under Miri (needs a nightly toolchain)'
	@echo '  make model    run ten million operations against the model'
	@echo '  make stress   run ten million operations of people and daemons'
	@echo '  make family   run ten million operations of the whole allocation family'
	@echo '  make shuttle  run the kernel'"'"'s threads in a million schedules'
	@echo '  make loom     explore the drain of per-CPU lists in every order of memory'
	@echo '  make image    build target/slowpath/kernel8.img'
	@echo '  make sdcard   make a folder and an image of an SD card for a Raspberry Pi 4'
	@echo '  make flash SD=/dev/...   write that image to a card, after a question'
	@echo '  make setup    install what is missing; make doctor only says what is'
	@echo '  make clean    remove what was built'
	@echo
	@echo 'Options go in ARGS: make run ARGS="--machine raspi4b", make run ARGS="--memory 64G".'
	@echo 'cargo xtask run --help lists them.'

run: setup
	@$(XTASK) run $(ARGS)

test: setup
	@$(XTASK) setup --tables
	@$(XTASK) test $(ARGS)

check: setup
	@$(XTASK) check $(ARGS)

debug: toolchain
	@$(XTASK) setup --debug
	@$(XTASK) debug $(ARGS)

bench: setup
	@$(XTASK) bench $(ARGS)

miri: toolchain
	@$(XTASK) miri $(ARGS)

model: toolchain
	@$(XTASK) model $(ARGS)

stress: toolchain
	@$(XTASK) stress $(ARGS)

family: toolchain
	@$(XTASK) family $(ARGS)

shuttle: toolchain
	@$(XTASK) shuttle $(ARGS)

loom: toolchain
	@$(XTASK) loom $(ARGS)

image: toolchain
	@$(XTASK) build $(ARGS)

sdcard: toolchain
	@$(XTASK) sdcard $(ARGS)

flash: toolchain
	@$(XTASK) flash $(SD) $(ARGS)

setup: toolchain
	@$(XTASK) setup

doctor: toolchain
	@$(XTASK) doctor

clean:
	@cargo clean

# The one thing that xtask cannot look after itself: it is built by cargo.
toolchain:
	@command -v cargo >/dev/null || { \
	  echo 'slowpath needs Rust. Get it with rustup, see https://rustup.rs, then run make again.'; exit 1; }
	@cargo --version >/dev/null 2>&1 || rustup toolchain install
