"""The exercises of well-known courses, one file each: what their students write, how it is called, and their conventions.

Each registers through the hook ``refbp_exercises``, as a plugin's would. Names and signatures are facts of the courses;
every sentence and every case here is this project's own.
"""
