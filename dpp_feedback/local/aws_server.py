"""The process of the AWS stand-in: ministack, and the calls of move_tasks.py that it lacks."""

from dpp_feedback.local import move_tasks

if __name__ == "__main__":
    from ministack.app import main  # type: ignore[import-untyped]

    move_tasks.register()
    main()
